-- SPDX-License-Identifier: Apache-2.0
-- Requests outside a handler: decoded, built, changed, encoded.
local core = require "prom_remote_api.faces"
local failure = require "prom_remote_api.failure"
local options = require "prom_remote_api.options"

local requests = {}
local Request = core.Request ---@class pra.Request
local Series = core.Series ---@class pra.Series

--- A request from the body of an HTTP request. Options: version (1), compressed (true: a block of
--- snappy), limits, integers. It is as it was sent: labels may be unsorted or invalid; a handler
--- gives its storage what has been checked.
---@param data string
---@param opts { version: integer?, compressed: boolean?, limits: table?, integers: string? }?
---@return pra.Request? request
---@return string? message
---@return integer? code
function requests.decode(data, opts)
  opts = opts or {}
  return core.decode(data, opts.version or 1, opts.compressed ~= false, options.limits(core, opts),
    opts.integers)
end

--- An empty request, to be filled by its methods add and add_metadata.
---@return pra.Request? request
---@return string? message
---@return integer? code
function requests.request() return core.request() end

local encode = Request.encode

--- The message in bytes. Options: version (default: its own; 1 if it was built), compressed (true).
---@param opts { version: integer?, compressed: boolean? }?
---@return string? data
---@return string? message
---@return integer? code
function Request:encode(opts)
  opts = opts or {}
  local version = opts.version or self.version
  return encode(self, version == 0 and 1 or version, opts.compressed ~= false)
end

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

--- A new request of those series for which fn(labels, series) returns labels (the same table or
--- another), under these labels; how many it dropped. Errors of fn pass through.
---@param fn fun(labels: table<string, string>, series: pra.Series): table<string, string>?|false
---@return pra.Request? request
---@return integer|string|nil dropped or message
---@return integer? code
function Request:map(fn)
  local out, message, code = core.request()
  if not out then return nil, message, code end
  local dropped, ok = 0, nil
  for series in self:series() do
    local labels = fn(series.labels, series)
    if labels then
      ok, message, code = out:add(series, labels)
      if not ok then return nil, message, code end
    else
      dropped = dropped + 1
    end
  end
  ok, message, code = add_families(out, self.metadata)
  if not ok then return nil, message, code end
  return out, dropped
end

failure.of(Request, { "add", "add_metadata", "encode", "copy", "map", "relabel", "split" })
failure.of(core.Relabel, { "labels" })

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

return requests
