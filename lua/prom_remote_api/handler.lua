-- SPDX-License-Identifier: Apache-2.0
-- Requests in, answers out, without a socket.
local core = require "prom_remote_api.faces"
local failure = require "prom_remote_api.failure"
local options = require "prom_remote_api.options"

---@class pra.Handler
local Handler = {}
Handler.__index = Handler

---@class pra.Exchange
local Exchange = {}
Exchange.__index = Exchange

local KNOWN = { "storage", "limits", "tenant_header", "log", "accepted_messages", "strict",
  "external_labels", "ignored_matchers", "read_delay_ms", "read_max_age_ms", "integers",
  "max_instructions" }

local function done(_, message)
  if message then error(message, 0) end
end

-- The options of pra_handler_opts that are no limits; face: core or what is like it.
local function rules_of(face, opts)
  local rules = assert(face.Rules())
  local seen, accepted = {}, 0
  for _, version in ipairs(opts.accepted_messages or { 1, 2 }) do
    if version ~= 1 and version ~= 2 then
      error("no such version of remote write: " .. tostring(version), 5)
    end
    if not seen[version] then accepted = accepted + 2 ^ version end
    seen[version] = true
  end
  rules.accepted_messages = accepted
  rules.canonical_flags = opts.strict and face.CANONICAL_STRICT or 0
  rules.read_delay_ms = opts.read_delay_ms or 0
  rules.read_max_age_ms = opts.read_max_age_ms or 0
  for name, value in pairs(opts.external_labels or {}) do
    done(rules:add_external_label(name, value))
  end
  for _, name in ipairs(opts.ignored_matchers or {}) do done(rules:ignore_matcher(name)) end
  return rules
end

--- The handler of a face, from the options of pra.handler.
local function new_handler(face, opts)
  local header = opts.tenant_header
  if header ~= nil and type(header) ~= "string" then
    error(("tenant_header is a %s, not a string"):format(type(header)), 4)
  end
  return face.Handler(options.limits(face, opts), header, false, rules_of(face, opts), opts)
end

--- Options: storage; limits, a table by the names of pra_limits; tenant_header (default
--- "X-Scope-OrgID", "" = none); log, a function that takes the text of an error that a storage
--- function raised (default: standard error); accepted_messages, a list of versions of remote write
--- (default { 1, 2 }); strict = true, which refuses what is mended otherwise (unsorted labels, empty
--- values); external_labels, which every series of an answer has; ignored_matchers, a list of labels
--- that queries are not to ask about; read_delay_ms and read_max_age_ms: what is younger or older is
--- not read; integers ("string", "cdata"), how the storage gets integers; max_instructions, what
--- one call of a storage function may take (503 past it; not on the ffi face: see
--- lua/docs/serve.md).
---@param opts table
---@return pra.Handler? handler
---@return string? message
---@return integer? code
local function handler(opts)
  options.known(opts, KNOWN)
  local made, message, code = new_handler(core, opts)
  if not made then return nil, message, code end
  return setmetatable({ core = made, idle = {} }, Handler)
end

--- One request after the other for a host that gets and sends bodies in pieces.
---@return pra.Exchange? exchange
---@return string? message
---@return integer? code
function Handler:exchange()
  local x, message, code = core.Exchange(self.core)
  if not x then return nil, message, code end
  return setmetatable({ core = x }, Exchange)
end

-- What core says, as true: go on, or false: the answer stands.
local function going(go, message, code)
  if go == nil then return nil, message, code end
  return go == core.OK
end

local function text_of(request, name, default)
  local value = request[name]
  if value == nil then return default end
  if type(value) ~= "string" then
    error(("%s of a request is a %s, not a string"):format(name, type(value)), 4)
  end
  return value
end

local function headers_of(request)
  local headers = request.headers or {}
  if type(headers) ~= "table" then
    error(("headers of a request are a %s, not a table"):format(type(headers)), 4)
  end
  return headers
end

local endpoints = { write = 1, read = 2 } -- PRA_ENDPOINT_…

--- Begins a request { method (default POST), target, headers (names to strings), remote_addr, user,
--- endpoint ("write", "read"; default: by the path) }, ending the one before. true: feed the body;
--- false: the answer stands already.
---@param request table
---@return boolean? go
---@return string? message
---@return integer? code
function Exchange:begin(request)
  if type(request) ~= "table" then
    error(("a request is a table { target, headers, ... }, not a %s"):format(type(request)), 3)
  end
  return going(self.core:begin(text_of(request, "method", "POST"), text_of(request, "target", "/"),
    headers_of(request), text_of(request, "remote_addr", ""), text_of(request, "user", ""),
    endpoints[request.endpoint] or core.ENDPOINT_AUTO))
end

--- Adds a piece of the body. true: more may come; false: the answer stands.
---@param piece string
---@return boolean? go
---@return string? message
---@return integer? code
function Exchange:feed(piece)
  if type(piece) ~= "string" then
    error(("a piece of a body is a %s, not a string"):format(type(piece)), 3)
  end
  return going(self.core:feed(piece))
end

--- Ends the body, decodes and checks it. true: run is to be called; false: the answer stands.
---@return boolean? go
---@return string? message
---@return integer? code
function Exchange:end_body() return going(self.core:end_body()) end

--- Asks the storage; then the answer stands. On the ffi face storage functions may yield, and the
--- host may have the queries of a read run side by side: spawn is called with a list of functions
--- (that neither raise nor return anything) and returns when all of them have returned.
---@param spawn fun(tasks: fun()[])?
---@return boolean? done
---@return string? message
---@return integer? code
function Exchange:run(spawn)
  local go, message, code
  if spawn then go, message, code = self.core:run(spawn) else go, message, code = self.core:run() end
  if go == nil then return nil, message, code end
  return true
end

--- On the ffi face: nobody waits for the answer any more (the client is gone). Storage functions
--- that are at work are told so when they next use a sink.
function Exchange:cancel() self.core:cancel() end

--- The HTTP status; 0 before the answer stands.
---@return integer
function Exchange:status() return self.core:status() end

--- Headers of the answer by their names in lower case. Content-Length is the host's to add: see
--- body_length.
---@return table<string, string>
function Exchange:headers()
  local headers, x = {}, self.core
  for i = 0, x:header_count() - 1 do
    headers[x:header_name(i):lower()] = x:header_value(i)
  end
  return headers
end

--- Bytes of the body; nil if that is not known beforehand (streamed answers).
---@return integer?
function Exchange:body_length() return self.core:body_length() end

--- The next piece of the body, nil at its end. After a failure (nil, message, code) the connection
--- has to be aborted, so that the reader sees that the answer is cut off.
---@return string? piece
---@return string? message
---@return integer? code
function Exchange:piece() return self.core:body() end

--- for piece in x:pieces() do ... end: the rest of the body; raises where the answer breaks off.
---@return fun(): string?
function Exchange:pieces()
  return function() return (failure.raise(self.core:body())) end
end

--- Lets go of the request and of what the storage keeps for it, for hosts that stop in the middle.
function Exchange:reset() self.core:reset() end

failure.of(Exchange, { "begin", "feed", "end_body", "run", "piece" })

local function drive(x, request)
  local go, message, code = Exchange.begin(x, request)
  if go then go, message, code = Exchange.feed(x, request.body or "") end
  if go then go, message, code = Exchange.end_body(x) end
  if go then go, message, code = Exchange.run(x) end
  return go, message, code
end

--- Answers one HTTP request { method, target, headers (names to strings), body, remote_addr, user }:
--- returns status, headers (names in lower case), body. May be called from a coroutine; a storage
--- function can yield on the ffi face only.
---@param request table
---@return integer? status
---@return table<string, string>|string|nil headers or message
---@return string|integer|nil body or code
function Handler:request(request)
  local x, message, code = table.remove(self.idle)
  if not x then
    x, message, code = Handler.exchange(self)
    if not x then return nil, message, code end
  end
  local _
  _, message, code = drive(x, request)
  if x:status() == 0 then return nil, message, code end
  local status, headers, pieces = x:status(), x:headers(), {}
  repeat
    local piece
    piece, message, code = x:piece()
    if message then return nil, message, code end
    pieces[#pieces + 1] = piece
  until not piece
  self.idle[#self.idle + 1] = x
  return status, headers, table.concat(pieces)
end

failure.of(Handler, { "exchange", "request" })

return { new = handler, new_core = new_handler, options = KNOWN }
