-- SPDX-License-Identifier: Apache-2.0
-- HTTP requests of nginx through the exchanges of a handler, and back.
local exchanges = {}

local MAX_IDLE = 16         -- exchanges that a worker keeps, with the memory of what they have seen
local PIECE = 128 * 1024    -- of a body in a file

local Pool = {}
Pool.__index = Pool

--- The exchanges of one worker over a handler; endpoint: "write", "read" or nil, by the path.
function exchanges.pool(handler, endpoint)
  return setmetatable({ handler = handler, endpoint = endpoint, idle = {} }, Pool)
end

local function take(pool)
  return table.remove(pool.idle) or pool.handler:exchange()
end

--- Gives an exchange back. One that an error kept from coming back is collected as garbage.
function Pool:give(x)
  x:reset()
  if #self.idle < MAX_IDLE then self.idle[#self.idle + 1] = x end
end

-- A header that came several times is one list, as RFC 9110 has it.
local function headers()
  local all = ngx.req.get_headers(0)
  for name, value in pairs(all) do
    if type(value) == "table" then all[name] = table.concat(value, ", ") end
  end
  return all
end

local function head(pool)
  return {
    method = ngx.req.get_method(), target = ngx.var.request_uri, headers = headers(),
    remote_addr = ngx.var.remote_addr, user = ngx.var.remote_user, endpoint = pool.endpoint,
  }
end

local function feed_file(x, path)
  local file, why = io.open(path, "rb")
  if not file then return nil, "cannot read the request body: " .. why, 0 end
  local go, message, code = true, nil, nil
  while go do
    local piece, problem = file:read(PIECE)
    if problem then go, message, code = nil, "cannot read the request body: " .. problem, 0 end
    if not piece then break end
    go, message, code = x:feed(piece)
  end
  file:close()
  return go, message, code
end

-- Feeds the body from wherever nginx has put it.
local function feed(x)
  local data = ngx.req.get_body_data()
  if data then return x:feed(data) end
  local path = ngx.req.get_body_file()
  if path then return feed_file(x, path) end
  return true
end

--- Answers with a line of text and ends the request.
function exchanges.refuse(status, message, more)
  ngx.status = status
  ngx.header["Content-Type"] = "text/plain; charset=utf-8"
  ngx.header["X-Content-Type-Options"] = "nosniff"
  for name, value in pairs(more or {}) do ngx.header[name] = value end
  ngx.print(message, "\n")
  return ngx.exit(ngx.HTTP_OK) -- the answer is out: nothing else is to be made of it
end

-- What a host cannot go on with (no memory, no file) may work later.
local function broken(message)
  ngx.log(ngx.ERR, "remote storage: ", message)
  return exchanges.refuse(503, message)
end

-- The queries of a read, each in a light thread.
local function spawn(tasks)
  local threads = {}
  for i, task in ipairs(tasks) do threads[i] = ngx.thread.spawn(task) end
  for i in ipairs(tasks) do ngx.thread.wait(threads[i]) end
end

--- Reads and checks the request and asks the storage, if it is to be asked. Returns an exchange
--- whose answer stands. Until the body is there no exchange is held: a slow sender costs no more
--- than nginx' buffers. What the head says already is answered without the body (413, 415 and the
--- like).
function Pool:receive()
  local request = head(self)
  local x, message = take(self)
  if not x then return broken(message) end
  local go
  go, message = x:begin(request)
  if go == false then return x end
  self:give(x)
  if go == nil then return broken(message) end
  ngx.req.read_body()
  x = assert(take(self))
  go, message = x:begin(request)
  if go then go, message = feed(x) end
  if go then go, message = x:end_body() end
  if go then go, message = x:run(spawn) end
  if go == nil and x:status() == 0 then
    self:give(x)
    return broken(message)
  end
  return x
end

--- What x answers: status, headers, body as a whole (nil if it is streamed).
function exchanges.answer(x)
  if not x:body_length() then return x:status(), x:headers() end
  local pieces = {}
  for piece in x:pieces() do pieces[#pieces + 1] = piece end
  return x:status(), x:headers(), table.concat(pieces)
end

-- Piece by piece, each when the one before is with the client.
local function stream(x)
  local sent, why = ngx.send_headers()
  while sent do
    local piece, message = x:piece()
    if not piece then return message end
    sent, why = ngx.print(piece)
    if sent then sent, why = ngx.flush(true) end
  end
  return "the client is gone: " .. tostring(why)
end

--- Sends the answer and gives x back. more: headers that replace those of x.
function Pool:send(x, more)
  local status, all, body = exchanges.answer(x)
  ngx.status = status
  for name, value in pairs(all) do ngx.header[name] = value end
  for name, value in pairs(more or {}) do ngx.header[name] = value end
  if body then
    self:give(x)
    if status ~= 204 then ngx.header["Content-Length"] = #body end
    if body ~= "" then ngx.print(body) end
    return ngx.exit(ngx.HTTP_OK)
  end
  local message = stream(x)
  self:give(x)
  if message then
    ngx.log(ngx.WARN, "remote read was cut off: ", message)
    return ngx.exit(ngx.ERROR) -- without the end that HTTP expects, so that the reader sees it
  end
  return ngx.exit(ngx.HTTP_OK)
end

return exchanges
