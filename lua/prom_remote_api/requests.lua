-- SPDX-License-Identifier: Apache-2.0
-- Requests outside a handler: decoded, built, changed, encoded.
local core = require "prom_remote_api.faces"
local failure = require "prom_remote_api.failure"
local options = require "prom_remote_api.options"

local requests = {}
local Request = core.Request ---@class pra.Request
local Series = core.Series ---@class pra.Series

local DECODE = { "version", "compressed", "limits", "integers" }
local ENCODE = { "version", "compressed" }
local RELABEL = { "limits" }

--- A request from the body of an HTTP request. Options: version (1), compressed (true: a block of
--- snappy), limits, integers. It is as it was sent: labels may be unsorted or invalid; a handler
--- gives its storage what has been checked.
---@param data string
---@param opts { version: integer?, compressed: boolean?, limits: table?, integers: string? }?
---@return pra.Request? request
---@return string? message
---@return integer? code
function requests.decode(data, opts)
  if opts then options.known(opts, DECODE) else opts = {} end
  return core.decode(data, opts.version or 1, opts.compressed ~= false, options.limits(core, opts),
    opts.integers)
end

--- An empty request, to be filled by its methods add and add_metadata.
---@return pra.Request? request
---@return string? message
---@return integer? code
function requests.request() return core.request() end

local plain_encode = Request.encode

local function encode(face_encode, request, opts)
  if opts then options.known(opts, ENCODE, 4) else opts = {} end
  local version = opts.version or request.version
  return face_encode(request, version == 0 and 1 or version, opts.compressed ~= false)
end

--- The message in bytes. Options: version (default: its own; 1 if it was built), compressed (true).
---@param opts { version: integer?, compressed: boolean? }?
---@return string? data
---@return string? message
---@return integer? code
function Request:encode(opts) return encode(plain_encode, self, opts) end

-- Metadata that stands alone, as in 1.0, goes with what is left of a request.
local function add_families(out, metadata)
  for _, entry in ipairs(metadata) do
    if entry.family then
      local ok, message, code = out:add_metadata(entry)
      if not ok then return nil, message, code end
    end
  end
  return true
end

local function map(face, request, fn)
  local out, message, code = face.request()
  if not out then return nil, message, code end
  local dropped, ok = 0, nil
  for series in request:series() do
    local labels = fn(series.labels, series)
    if labels then
      ok, message, code = out:add(series, labels)
      if not ok then return nil, message, code end
    else
      dropped = dropped + 1
    end
  end
  ok, message, code = add_families(out, request.metadata)
  if not ok then return nil, message, code end
  return out, dropped
end

--- A new request of those series for which fn(labels, series) returns labels (the same table or
--- another), under these labels; how many it dropped. Errors of fn pass through.
---@param fn fun(labels: table<string, string>, series: pra.Series): table<string, string>?|false
---@return pra.Request? request
---@return integer|string|nil dropped or message
---@return integer? code
function Request:map(fn) return map(core, self, fn) end

local function copy(value)
  if type(value) ~= "table" then return value end
  local made = {}
  for key, element in pairs(value) do made[key] = copy(element) end
  return made
end

local origins = setmetatable({}, { __mode = "k" }) -- Relabel → what it was made of

--- Rules of Prometheus' relabel_configs: a list of tables with source_labels, separator, regex,
--- modulus, target_label, replacement, action. For request:relabel, and for its own method
--- relabel:labels(labels), which returns a new table of labels, or nil if they are dropped.
---@param rules table[]
---@param opts { limits: table? }?
---@return pra.Relabel? relabel
---@return string? message
---@return integer? code
function requests.relabel(rules, opts)
  if opts then options.known(opts, RELABEL) else opts = {} end
  local relabel, message, code = core.relabel(rules, options.limits(core, opts))
  if not relabel then return nil, message, code end
  if core.face == "ffi" then -- the only one beside which there may be another: see adopt
    origins[relabel] = { rules = copy(rules), limits = copy(opts.limits) }
  end
  return relabel
end

local function may_fail(face)
  failure.of(face.Request, { "add", "add_metadata", "encode", "copy", "map", "relabel", "split" })
  failure.of(face.Relabel, { "labels" })
end

may_fail(core)

local function list_of(column) return column and column:totable() end

--- A plain table of plain tables, the script's own to keep and to change; what sink:add takes.
---@return pra.SeriesTable
function Series:totable()
  return {
    labels = self.labels, timestamps = list_of(self.timestamps), values = list_of(self.values),
    start_timestamps = list_of(self.start_timestamps), histograms = self.histograms,
    exemplars = self.exemplars,
  }
end

local adopted = { [core] = true }

-- Their requests take our Relabel: made again, once, of what it was made of.
local function take_relabel(face)
  local relabel, made = face.Request.relabel, setmetatable({}, { __mode = "k" })
  function face.Request:relabel(ours)
    local origin = origins[ours]
    if origin and not made[ours] then
      local theirs, message, code = face.relabel(origin.rules, options.limits(face, origin))
      if not theirs then return nil, message, code end
      made[ours] = theirs
    end
    return relabel(self, made[ours] or ours)
  end
end

-- Our requests take their series, whose Columns are userdata.
local function take_series()
  local add = Request.add
  function Request:add(series, labels)
    local column = type(series) == "table" and series.timestamps
    if type(column) == "userdata" then series = series:totable() end
    return add(self, series, labels)
  end
end

--- Makes the requests and series of another face, such as serve's in LuaJIT, what ours are.
---@param face table
function requests.adopt(face)
  if adopted[face] then return end
  adopted[face] = true
  local face_encode = face.Request.encode
  function face.Request:encode(opts) return encode(face_encode, self, opts) end
  function face.Request:map(fn) return map(face, self, fn) end
  face.Series.totable = Series.totable
  take_relabel(face)
  take_series()
  may_fail(face)
end

return requests
