-- SPDX-License-Identifier: Apache-2.0

--- A storage that passes everything on to another one: over HTTP by LuaSocket (Debian: lua-socket;
--- LuaRocks: luasocket), or in nginx by locations with proxy_pass.
--
--   local relay = require "prom_remote_api.storages.relay"
--   return pra.serve { storage = relay.new { write_url = "http://127.0.0.1:9202/api/v1/write",
--                                            read_url = "http://127.0.0.1:9202/api/v1/read" } }
--
-- A write is answered as the other side answers it: its 4xx is a pra.reject with its text, 429 and
-- 5xx are a pra.retry with its Retry-After, and what is no answer, or no whole one, is that too.
-- What was acknowledged is in the other storage, metadata too: nothing is kept here.
local pra = require "prom_remote_api"
local known = require("prom_remote_api.options").known

local relay = {}

local TYPES = {
  { "application/x-protobuf", "0.1.0" },
  { "application/x-protobuf;proto=io.prometheus.write.v2.Request", "2.0.0" },
}
local WRITTEN = "x-prometheus-remote-write-"
local MOST_BYTES = 268435456 -- of an answer, which is in memory as a whole

---- One request to the other side: { status, headers (names in lower case), body }, or nil, message

local function lower(headers)
  local out = {}
  for name, value in pairs(headers) do out[name:lower()] = value end
  return out
end

local function by_luasocket(url, headers, body, timeout)
  local http, ltn12 = require "socket.http", require "ltn12"
  local pieces, size = {}, 0
  local function sink(piece)
    size = size + #(piece or "")
    if size > MOST_BYTES then return nil, "an answer of more than " .. MOST_BYTES .. " bytes" end
    pieces[#pieces + 1] = piece
    return 1
  end
  headers["content-length"] = tostring(#body)
  local before = http.TIMEOUT
  http.TIMEOUT = timeout
  local fine, status, came = http.request {
    url = url, method = "POST", headers = headers, source = ltn12.source.string(body), sink = sink,
    redirect = false, proxy = false,
  }
  http.TIMEOUT = before
  if not fine then return nil, tostring(status) end
  if not came then return nil, "this is no HTTP" end -- LuaSocket takes it for HTTP/0.9
  return { status = status, headers = came, body = table.concat(pieces),
    endless = not came["content-length"] and not came["transfer-encoding"] }
end

-- An internal location: the headers of the request go along, as proxy_pass has them; "" stands for
-- none.
local function by_nginx(location, headers, body)
  for name, value in pairs(headers) do
    ngx.req.set_header(name, value ~= "" and value or nil)
  end
  local answer = ngx.location.capture(location, { method = ngx.HTTP_POST, body = body })
  if answer.truncated then return nil, "status " .. answer.status .. ", and it breaks off" end
  return { status = answer.status, headers = lower(answer.header), body = answer.body }
end

---- Verdicts

-- The verdict of the other side, for the sender on this one.
local function raise_unless_fine(answer, message, name)
  if not answer then error(pra.retry(name .. " does not answer: " .. message)) end
  local status = answer.status
  if status >= 200 and status < 300 then return answer end
  local text = answer.body:sub(1, 1024):match("^%s*(.-)%s*$")
  if text == "" then text = "status " .. status end
  if status >= 400 and status < 500 and status ~= 429 then
    error(pra.reject { text, status = status })
  end
  local after = tonumber((answer.headers["retry-after"] or ""):match("^%d%d?%d?%d?%d?%d?$"))
  if status ~= 429 and (status < 500 or status > 599) then status = 502 end
  error(pra.retry { text, status = status, after = after })
end

-- Whoever takes a 2.0 message and does not say what it has written has not understood it: it is
-- sent again until somebody chooses version = 1.
local function assert_understood(request, answer)
  if request.sample_count + request.histogram_count + request.exemplar_count == 0 then return end
  for _, kind in ipairs { "samples", "histograms", "exemplars" } do
    if answer.headers[WRITTEN .. kind .. "-written"] then return end
  end
  error(pra.retry {
    "the receiver does not know remote write 2.0; give the relay version = 1", status = 502,
  })
end

---- The storage

---@class pra.Relay
---@field write function
---@field read function? reads are answered with 404 where there is no read_url
---@field close fun() nothing to do

---@class pra.RelayOptions
---@field write_url string "http://…", or in nginx "/…", an internal location with proxy_pass
---@field read_url string?
---@field version integer? of the remote write messages that are sent, 1 or 2; default: as they came
---@field tenant_header string? that says the tenant to the other side (X-Scope-OrgID); "" = none
---@field headers table<string, string>? sent with every request, such as an Authorization
---@field forward string[]? names of headers that are passed on as they came (in nginx all are)
---@field timeout number? seconds without a sign of life (30); in nginx the location says that
---@field transport? pra.Transport for https, or whatever LuaSocket cannot do

--- Of an answer by names in lower case.
---@alias pra.Headers table<string, string>
---@alias pra.Answer { status: integer, headers: pra.Headers, body: string }
--- Returns a pra.Answer, or nil and a message.
---@alias pra.Transport fun(url: string, headers: pra.Headers, body: string, timeout: number): any

local function transport_of(url, options)
  if options.transport then return options.transport end
  if url:find("^/") and type(ngx) == "table" then return by_nginx end
  if type(ngx) == "table" then
    error("in nginx a relay needs an internal location, not " .. url, 3)
  end
  if not url:find("^http://[^/]") then
    error("not the http URL of an endpoint (https needs the option transport): " .. url, 3)
  end
  local found, message = pcall(require, "socket.http")
  if not found then error("a relay needs LuaSocket (Debian: lua-socket): " .. message, 3) end
  return by_luasocket
end

---@param options pra.RelayOptions
---@return pra.Relay
function relay.new(options)
  known(options, { "write_url", "read_url", "version", "tenant_header", "headers", "forward",
    "timeout", "transport" })
  if type(options.write_url) ~= "string" then error("a relay needs a write_url", 2) end
  local tenant_header = options.tenant_header or "X-Scope-OrgID"
  local storage = { histograms = true, exemplars = true, close = function() end }

  local function headers_for(ctx, more)
    local headers = { ["Content-Encoding"] = "snappy", ["User-Agent"] = "prom-remote-api relay" }
    for name, value in pairs(options.headers or {}) do headers[name] = value end
    for _, name in ipairs(options.forward or {}) do headers[name] = ctx:header(name) end
    for name, value in pairs(more) do headers[name] = value end
    if tenant_header ~= "" and ctx.tenant ~= "" then
      headers[tenant_header] = ctx.tenant
    elseif tenant_header ~= "" and type(ngx) == "table" then -- the sender's is not to go along
      headers[tenant_header] = headers[tenant_header] or ""
    end
    return headers
  end

  local function post(url, ctx, headers, body)
    local answer, message =
      transport_of(url, options)(url, headers_for(ctx, headers), body, options.timeout or 30)
    return raise_unless_fine(answer, message, url)
  end

  function storage.write(ctx, request)
    local version = options.version or request.version
    local answer = post(options.write_url, ctx, {
      ["Content-Type"] = TYPES[version][1],
      ["X-Prometheus-Remote-Write-Version"] = TYPES[version][2],
    }, assert(request:encode { version = version }))
    if version == 2 then assert_understood(request, answer) end
  end

  if options.read_url then
    transport_of(options.read_url, options)
    function storage.read(ctx, queries)
      local answer = post(options.read_url, ctx, {
        ["Content-Type"] = TYPES[1][1], ["Accept-Encoding"] = "snappy",
        ["X-Prometheus-Remote-Read-Version"] = "0.1.0",
      }, assert(pra.encode_queries(queries)))
      local results, message
      if answer.endless then
        message = "nothing says where it ends"
      else
        results, message = pra.decode_answer(answer.body, answer.headers["content-type"])
      end
      if not results or #results ~= #queries then
        message = message or "answers to other queries"
        error(pra.retry { "not an answer to a read: " .. message, status = 502 })
      end
      return results
    end
  end

  transport_of(options.write_url, options)
  return storage
end

return relay
