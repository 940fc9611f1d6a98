-- SPDX-License-Identifier: Apache-2.0
-- Handlers and exchanges. The exchange is stepped: no C calls Lua, so storage functions may yield.
local ffi = require "ffi"
local base = require "prom_remote_api.ffi_base"
local requests = require "prom_remote_api.ffi_request"
local views = require "prom_remote_api.ffi_views"

local handlers = {}
local lib, err = base.lib, base.err

---- limits and rules

-- An object with integer fields that stand in a struct.
local function fields_of(names, struct, methods)
  return setmetatable({ _struct = struct }, {
    __index = function(_, name)
      if names[name] then return tonumber(struct[name]) end
      return methods and methods[name]
    end,
    __newindex = function(_, name, value)
      local integer = names[name] and base.unsigned(value)
      if not integer then
        error(("%s cannot be %s"):format(tostring(name), tostring(value)), 2)
      end
      struct[name] = integer
    end,
  })
end

local limit_names = {}
for _, name in ipairs { "max_body_bytes", "max_decoded_bytes", "max_memory_bytes",
  "max_labels_per_series", "max_label_name_bytes", "max_label_value_bytes", "max_queries",
  "max_matchers", "max_pattern_bytes", "max_pattern_memory", "max_read_samples",
  "max_response_bytes", "retain_bytes", "max_frame_bytes", "max_frame_read_bytes" } do
  limit_names[name] = true
end

--- What one request may cost: fields of pra_limits, 0 = default.
function handlers.Limits()
  local struct = ffi.new "pra_limits"
  base.check(lib.pra_limits_init(struct, ffi.sizeof(struct)))
  return fields_of(limit_names, struct)
end

--- The struct behind what Limits returned; nil for nil.
function handlers.limits_of(limits) return limits and rawget(limits, "_struct") end

local rule_names = { accepted_messages = true, response_types = true, canonical_flags = true,
  read_delay_ms = true, read_max_age_ms = true }

--- The rules of a handler that are not limits: fields of pra_handler_opts, 0 = default.
function handlers.Rules()
  local struct = ffi.new "pra_handler_opts"
  base.check(lib.pra_handler_opts_init(struct, ffi.sizeof(struct)))
  local methods = { external = {}, ignored = {} }
  function methods.add_external_label(_, name, value)
    table.insert(methods.external, { tostring(name), tostring(value) })
    return true
  end
  function methods.ignore_matcher(_, name)
    table.insert(methods.ignored, tostring(name))
    return true
  end
  return fields_of(rule_names, struct, methods)
end

-- Points the struct of rules at its labels; what it points to is in the table returned.
local function point_rules(rules, struct)
  local external, ignored = rules.external, rules.ignored
  local labels = ffi.new("pra_label[?]", #external)
  local names = ffi.new("const char *[?]", #ignored)
  for i, label in ipairs(external) do
    base.set_str(labels[i - 1].name, label[1])
    base.set_str(labels[i - 1].value, label[2])
  end
  for i, name in ipairs(ignored) do names[i - 1] = name end
  struct.external_labels, struct.external_label_count = labels, #external
  struct.ignored_matchers_cstr, struct.ignored_matcher_count = names, #ignored
  return { labels, names, external, ignored }
end

---- handler

local function has_entry(storage, name)
  local entry = storage[name]
  if entry ~= nil and type(entry) ~= "function" then
    error(("storage.%s is a %s, not a function"):format(name, type(entry)), 5)
  end
  return entry ~= nil
end

-- What the library is told about the storage: which functions it has. It calls none of them in an
-- exchange that is stepped, so any function will do.
local function vtbl_of(storage)
  local vtbl = ffi.new("pra_storage_vtbl", { size = ffi.sizeof "pra_storage_vtbl" })
  vtbl.flags = (storage.histograms and lib.PRA_STORAGE_HISTOGRAMS or 0)
    + (storage.exemplars and lib.PRA_STORAGE_EXEMPLARS or 0)
  local found = false
  for _, name in ipairs { "write", "process_query", "read" } do
    if has_entry(storage, name) then
      vtbl[name] = ffi.cast(ffi.typeof(vtbl[name]), lib.pra_limits_init)
      found = true
    end
  end
  has_entry(storage, "close")
  if not found then
    error("the storage has none of the functions write, process_query, read", 4)
  end
  return vtbl
end

local function log_to_stderr(text, entry)
  io.stderr:write(("prom_remote_api: storage.%s failed: %s\n"):format(entry, text))
end

-- The collector may finalize an exchange after its handler: who comes last frees the handler.
local function drop(shared)
  shared.users = shared.users - 1
  if shared.users == 0 then
    lib.pra_handler_free(shared.raw)
    shared.raw = nil
  end
end

-- An object of C with a share in the handler.
local function hold(shared, object, free)
  shared.users = shared.users + 1
  return ffi.gc(object, function(raw)
    if free then free(raw) end
    drop(shared)
  end)
end

local function options_of(options)
  local storage, log = options.storage, options.log
  if type(storage) ~= "table" then
    error(("storage must be a table of functions, not a %s"):format(type(storage)), 4)
  end
  if log ~= nil and type(log) ~= "function" then error("log is a function", 4) end
  if options.max_memory then
    error("max_memory is for Lua states of a server: serve { script = FILE }", 4)
  end
  local shown = base.integers(options.integers)
  return storage, log or log_to_stderr, shown
end

--- A handler from the options of pra.handler: storage, log, integers; the rest is in limits and
--- rules.
function handlers.Handler(limits, tenant_header, _, rules, options)
  local storage, log, shown = options_of(options)
  local vtbl = vtbl_of(storage)
  local opts, now = rawget(rules, "_struct"), ffi.new "int64_t[1]"
  local keep = point_rules(rules, opts)
  opts.limits = handlers.limits_of(limits)
  opts.tenant_header_cstr = tenant_header
  opts.clock.ctx = now
  local raw = ffi.new "pra_storage"
  raw.vtbl = vtbl
  local out = ffi.new "pra_handler *[1]"
  local code = lib.pra_handler_new(nil, raw, opts, out, base.fresh())
  keep[1], keep[2] = tenant_header, limits -- they have lived until here
  if code ~= 0 then return base.failure(code) end
  local shared = { users = 0, raw = out[0], vtbl = vtbl, now = now }
  return { shared = shared, raw = hold(shared, out[0]), storage = storage, log = log,
    shown = shown }
end

---- running a storage function

local function is_verdict(value)
  return type(value) == "table" and getmetatable(value) == views.verdict
end

local function text_of(value)
  if type(value) == "string" then return value end
  local metatable = getmetatable(value)
  if type(metatable) == "table" and metatable.__tostring then
    local ok, text = pcall(tostring, value)
    return ok and type(text) == "string" and text or "(error object without text)"
  end
  return ("(error object is a %s value)"):format(type(value))
end

-- Leaves a verdict alone, makes a text with traceback of anything else.
local function add_traceback(value)
  if is_verdict(value) then return value end
  return debug.traceback(text_of(value), 2)
end

local function verdict(code, message, status, after)
  return { code = code, message = message, status = status, after = after }
end

-- What is told the sender of what a storage function raised, which goes to the log otherwise.
local function judge(handler, entry, raised)
  if is_verdict(raised) then
    return verdict(raised.code, tostring(raised.message), raised.status, raised.after)
  end
  pcall(handler.log, raised, entry) -- a log that fails has nowhere to say so
  local text = tostring(raised) -- a coroutine that passes it on puts a position before it
  if text:find "^not enough memory" or text:find "^[^\n]-:%d+: not enough memory" then
    return verdict(lib.PRA_ERR_RETRY, "the storage script ran out of memory")
  end
  return verdict(lib.PRA_ERR_USER, "the storage script failed; the receiver's log says why")
end

-- Runs f in protected mode; nil, or a verdict.
local function protected(handler, entry, f, ...)
  local ok, raised = xpcall(f, add_traceback, ...)
  if ok then return nil end
  return judge(handler, entry, raised)
end

---- exchange

local Exchange = {}
Exchange.__index = Exchange

--- One HTTP request and its answer; reusable.
function handlers.Exchange(handler)
  local out = ffi.new "pra_exchange *[1]"
  local code = lib.pra_exchange_new(handler.raw, nil, out)
  base.fresh()
  if code ~= 0 then return base.failure(code) end
  return setmetatable({ handler = handler,
    raw = hold(handler.shared, out[0], lib.pra_exchange_free) }, Exchange)
end

-- What a step says: OK and DONE, or a failure.
local function step(code)
  if code < 0 then
    base.fresh()
    return base.failure(code)
  end
  return code
end

-- A storage function that is still at work (its coroutine waits, or is gone) has lost its request.
local function forget(x)
  if x.call then x.call.alive, x.call.exchange = false, nil end
  x.call, x.cancelled = nil, false
end

local function fill_headers(headers, keep)
  local list = {}
  for name, value in pairs(headers) do
    if type(name) ~= "string" or type(value) ~= "string" then
      error(("headers hold a %s with a %s, not strings by strings"):format(type(name), type(value)),
        3)
    end
    list[#list + 1] = { name, value }
  end
  local raw = ffi.new("pra_header[?]", #list)
  for i, header in ipairs(list) do
    base.set_str(raw[i - 1].name, header[1])
    base.set_str(raw[i - 1].value, header[2])
  end
  keep.headers, keep.list = raw, list
  return raw, #list
end

local function now_ms()
  local now = rawget(_G, "ngx") and ngx.now and ngx.now() or os.time() -- luacheck: ignore
  return math.floor(now * 1000)
end

function Exchange:begin(method, target, headers, remote_addr, user, endpoint)
  local head = ffi.new("pra_request_head", { size = ffi.sizeof "pra_request_head" })
  local keep = { method, target, remote_addr, user }
  head.headers, head.header_count = fill_headers(headers, keep)
  base.set_str(head.method, method)
  base.set_str(head.target, target)
  base.set_str(head.remote_addr, remote_addr)
  base.set_str(head.user, user)
  head.endpoint = endpoint
  forget(self)
  local code = lib.pra_exchange_begin(self.raw, head)
  keep.headers = nil -- it has lived until here
  return step(code)
end

function Exchange:feed(piece)
  if type(piece) ~= "string" then error("a piece of a body is a string", 2) end
  return step(lib.pra_exchange_feed(self.raw, piece, #piece))
end

function Exchange:end_body()
  self.handler.shared.now[0] = now_ms()
  return step(lib.pra_exchange_end(self.raw))
end

-- Calls a storage function with what the call is about; a verdict, or nil.
local function ask(x, call, entry, f, ...)
  return protected(x.handler, entry, f, call, x.handler.storage[entry], ...)
end

local function write_body(call, write, ctx, request) views.demand(write(ctx, request)) end

local function ask_write(x, call)
  local ctx = views.context(call, lib.pra_exchange_context(x.raw))
  local request = requests.view(call, lib.pra_exchange_write_request(x.raw),
    lib.pra_exchange_write_result(x.raw), call.shown)
  return ask(x, call, "write", write_body, ctx, request)
end

local function query_body(call, process_query, ctx, query, sink)
  views.drain(sink, views.demand(process_query(ctx, query, sink)))
end

-- The queries of a read one after the other, or as spawn wants it; the first verdict.
local function ask_queries(x, call, ctx, queries, sinks, spawn)
  local verdicts, tasks, unfinished = {}, {}, {}
  for i = 1, #queries do
    unfinished[i] = verdict(lib.PRA_ERR_RETRY, "a query was not finished")
    tasks[i] = function()
      if call.alive then
        verdicts[i] = ask(x, call, "process_query", query_body, ctx, queries[i], sinks[i])
        unfinished[i] = nil
      end
    end
  end
  if spawn and #tasks > 1 then
    spawn(tasks)
  else
    for i = 1, #tasks do
      tasks[i]()
      if verdicts[i] then break end
    end
  end
  for i = 1, #tasks do
    local outcome = verdicts[i] or unfinished[i] -- a light thread may have been killed
    if outcome then return outcome end
  end
end

-- A script may take elements out of the lists that it is given: the sinks here are others.
local function read_body(_, read, ctx, queries, sinks, own)
  local answers = views.demand(read(ctx, queries, sinks))
  for i = 1, type(answers) == "table" and #own or 0 do views.drain(own[i], answers[i]) end
end

local function ask_read(x, call, spawn)
  local ctx = views.context(call, lib.pra_exchange_context(x.raw))
  local request = lib.pra_exchange_read_request(x.raw)
  local queries, sinks, own = {}, {}, {}
  for i = 1, tonumber(lib.pra_read_request_query_count(request)) do
    queries[i] = views.query(call, lib.pra_read_request_query(request, i - 1))
    sinks[i] = views.sink(call, lib.pra_exchange_sink(x.raw, i - 1))
    own[i] = sinks[i]
  end
  local storage = x.handler.storage
  if storage.read then return ask(x, call, "read", read_body, ctx, queries, sinks, own) end
  if storage.process_query then return ask_queries(x, call, ctx, queries, sinks, spawn) end
  return verdict(lib.PRA_ERR_NOT_SUPPORTED, "this storage answers no reads")
end

local function finish(x, outcome)
  local code = 0
  base.fresh()
  if outcome then
    local message = outcome.message
    code = outcome.code
    lib.pra_error_set_cstr(err, code, message)
    if outcome.status then err.http_status = outcome.status end
    if outcome.after then err.retry_after_s = outcome.after end
  end
  return step(lib.pra_exchange_finish(x.raw, code, err))
end

--- Asks the storage; then the answer stands. Storage functions may yield. spawn: calls each of a
--- list of functions, which return nothing and raise nothing, and returns when all have returned;
--- they may run side by side, in coroutines of their own. Default: one after the other.
---@param spawn fun(tasks: fun()[])?
function Exchange:run(spawn)
  local what = lib.pra_exchange_step(self.raw)
  if self.call or what ~= lib.PRA_STEP_WRITE and what ~= lib.PRA_STEP_READ then
    return step(self.call and lib.PRA_ERR_BUSY or lib.PRA_ERR_STATE)
  end
  local call = { alive = true, shown = self.handler.shown, exchange = self }
  self.call = call
  local outcome
  if what == lib.PRA_STEP_READ then
    outcome = ask_read(self, call, spawn)
  elseif self.handler.storage.write then
    outcome = ask_write(self, call)
  else
    outcome = verdict(lib.PRA_ERR_NOT_SUPPORTED, "this storage takes no writes")
  end
  if not call.alive then return step(lib.PRA_ERR_CANCELLED) end -- reset in the meantime
  forget(self)
  return finish(self, outcome)
end

--- Nobody waits for the answer any more: the functions at work are told when they use a sink.
function Exchange:cancel() self.cancelled = true end

function Exchange:reset()
  forget(self)
  lib.pra_exchange_reset(self.raw)
end

function Exchange:status() return lib.pra_exchange_status(self.raw) end

local function header_at(x, index)
  local out = ffi.new "const pra_header *[1]"
  local count = tonumber(lib.pra_exchange_headers(x.raw, out))
  if index < 0 or index >= count then error("there is no such header", 3) end
  return out[0][index]
end

function Exchange:header_count()
  return tonumber(lib.pra_exchange_headers(self.raw, ffi.new "const pra_header *[1]"))
end

function Exchange:header_name(index) return base.text(header_at(self, index).name) end

function Exchange:header_value(index) return base.text(header_at(self, index).value) end

function Exchange:body_length()
  local length = lib.pra_exchange_body_length(self.raw)
  if length == 0xffffffffffffffffULL then return nil end
  return tonumber(length)
end

--- The next piece of the body; nil at its end.
function Exchange:body()
  local data, length = ffi.new "const void *[1]", ffi.new "size_t[1]"
  local code = lib.pra_exchange_body(self.raw, data, length)
  if code < 0 then
    local why = lib.pra_exchange_error(self.raw)
    return nil, why.code ~= 0 and ffi.string(why.message) or base.strerror(code), code
  end
  if code == lib.PRA_DONE then return nil end
  return length[0] > 0 and ffi.string(data[0], length[0]) or ""
end

return handlers
