-- SPDX-License-Identifier: Apache-2.0

--- Redis' protocol, over cosockets in nginx and LuaSocket elsewhere, whose sockets are alike: a
--- list of commands in one go, and their answers. A connection that was kept may have been closed
--- meanwhile, so that the commands are sent again: they have to be such that this does no harm.
local resp = {}

local Server = {}
Server.__index = Server

local function in_nginx() return type(ngx) == "table" and ngx.socket and true or false end

-- The bytes of a command, a list of strings.
local function packed(command)
  local parts = { "*" .. #command .. "\r\n" }
  for _, argument in ipairs(command) do
    parts[#parts + 1] = "$" .. #argument .. "\r\n" .. argument .. "\r\n"
  end
  return table.concat(parts)
end

-- One answer: a string, number, list, or false for none; or nil, message, whether it was Redis that
-- said so.
local receive

local function receive_list(socket, size)
  local list, problem = {}, nil
  for i = 1, size do
    local item, message, said = receive(socket)
    if item == nil and not said then return nil, message, false end
    if item == nil then problem = problem or message else list[i] = item end
  end
  if problem then return nil, problem, true end
  return list
end

function receive(socket)
  local line, problem = socket:receive("*l")
  if not line then return nil, problem, false end
  local kind, rest = line:sub(1, 1), line:sub(2)
  local size = tonumber(rest)
  if kind == "+" then return rest end
  if kind == "-" then return nil, rest, true end
  if kind == ":" and size then return size end
  if size and size < 0 then return false end
  if kind == "*" and size then return receive_list(socket, size) end
  if kind ~= "$" or not size then return nil, "this is no Redis", false end
  local bytes
  bytes, problem = socket:receive(size + 2)
  if not bytes then return nil, problem, false end
  return bytes:sub(1, -3)
end

-- Sends the commands and receives their answers, as receive_list.
local function exchange(socket, commands)
  local bytes = {}
  for i, command in ipairs(commands) do bytes[i] = packed(command) end
  local sent, problem = socket:send(table.concat(bytes))
  if not sent then return nil, problem, false end
  return receive_list(socket, #commands)
end

local function greeting(options)
  local commands = {}
  if options.password then
    commands[1] = options.user and { "AUTH", options.user, options.password }
      or { "AUTH", options.password }
  end
  if options.database then
    commands[#commands + 1] = { "SELECT", ("%d"):format(options.database) }
  end
  return commands
end

-- An unconnected socket, and what its connect takes.
local function new_socket(o, timeout, pool)
  local host, port = o.host or "127.0.0.1", o.port or 6379
  if in_nginx() then
    local socket = ngx.socket.tcp()
    socket:settimeout(timeout * 1000)
    if o.path then return socket, { "unix:" .. o.path, { pool = pool } } end
    return socket, { host, port, { pool = pool } }
  end
  local socket = o.path and require("socket.unix").stream() or require("socket").tcp()
  socket:settimeout(timeout)
  return socket, o.path and { o.path } or { host, port }
end

-- A connected socket and whether it was used before; nil, message.
function Server:open()
  if self.kept then
    local socket = self.kept
    self.kept = nil
    return socket, true
  end
  local socket, address = new_socket(self.options, self.timeout, self.pool)
  local fine, problem = socket:connect(address[1], address[2], address[3])
  if fine and in_nginx() and socket:getreusedtimes() > 0 then return socket, true end
  local commands = greeting(self.options)
  if fine and #commands > 0 then fine, problem = exchange(socket, commands) end
  if fine then return socket, false end
  socket:close()
  return nil, problem
end

function Server:keep(socket)
  if in_nginx() then -- where a socket belongs to one request, and nginx keeps the connection
    socket:setkeepalive(60000, 32)
  else
    self.kept = socket
  end
end

--- The answers to the commands; nil, message if there is none, or if one of them is an error.
---@param commands string[][]
---@return any[]?, string?
function Server:ask(commands)
  if #commands == 0 then return {} end
  while true do
    local socket, used = self:open()
    if not socket then return nil, used end
    local answers, problem, said = exchange(socket, commands)
    if answers or said then
      self:keep(socket)
      return answers, problem
    end
    socket:close()
    if not used or problem == "timeout" then return nil, problem end
  end
end

function Server:close()
  if self.kept then self.kept:close() end
  self.kept = nil
end

--- Options as of redis.new. Connects when it is asked.
function resp.new(options)
  if not in_nginx() then
    local found, message = pcall(require, options.path and "socket.unix" or "socket")
    if not found then error("this needs LuaSocket (Debian: lua-socket): " .. message, 0) end
  end
  local pool = ("%s:%s:%s:%s:%s"):format(options.path or options.host or "", options.port or "",
    options.user or "", options.password or "", options.database or 0)
  return setmetatable({ options = options, timeout = options.timeout or 5, pool = pool }, Server)
end

return resp
