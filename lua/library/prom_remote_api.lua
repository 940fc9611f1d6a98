---@meta prom_remote_api.types
-- SPDX-License-Identifier: Apache-2.0
-- For language servers (LuaLS, EmmyLua): the objects that the faces make, and the tables that go in
-- and out. Functions written in Lua are annotated where they stand, in prom_remote_api/*.lua. Never
-- required at run time; see docs/api.md for how an editor finds it.

--- An integer of 64 bits: a number where that is exact, else a decimal string or (LuaJIT) cdata.
---@alias pra.Integer integer|string|ffi.cdata*

---@alias pra.Labels table<string, string>

--- What a storage function returns: nothing, a list of series, a function that returns one after
--- the other; or nil and why it failed.
---@alias pra.Result nil|pra.SeriesTable[]|(fun(): pra.SeriesTable?)

--- Data in Lua's own tables. See prom_remote_api for the fields.
---@class pra.SeriesTable
---@field labels pra.Labels
---@field timestamps pra.Integer[]|pra.Column milliseconds since 1970
---@field values number[]|pra.Column
---@field start_timestamps (pra.Integer[]|pra.Column)? milliseconds since 1970, 0 = not said
---@field histograms pra.Histogram[]?
---@field exemplars pra.Exemplar[]?

---@class pra.Exemplar
---@field labels pra.Labels
---@field value number
---@field timestamp pra.Integer milliseconds since 1970

---@class pra.Histogram
---@field timestamp pra.Integer milliseconds since 1970
---@field start_timestamp pra.Integer?
---@field schema integer? -4 to 8, or -53 (custom bounds)
---@field is_float boolean?
---@field reset_hint "unknown"|"yes"|"no"|"gauge"|nil
---@field count number|pra.Integer
---@field sum number
---@field zero_threshold number?
---@field zero_count (number|pra.Integer)?
---@field positive_spans { offset: integer, length: integer }[]?
---@field negative_spans { offset: integer, length: integer }[]?
---@field positive_buckets (number|pra.Integer)[]? absolute counts
---@field negative_buckets (number|pra.Integer)[]?
---@field positive_deltas pra.Integer[]? read only
---@field negative_deltas pra.Integer[]? read only
---@field custom_values number[]?

---@class pra.Metadata
---@field type string
---@field family string? 1.0
---@field series integer? 2.0: number of the series
---@field help string
---@field unit string

--- A table of functions, each optional. See prom_remote_api.
---@class pra.Storage
---@field write (fun(ctx: pra.Context, request: pra.Request))?
---@field process_query (fun(ctx: pra.Context, query: pra.Query, sink: pra.Sink): pra.Result)?
---@field read (fun(ctx: pra.Context, queries: pra.Query[], sinks: pra.Sink[]): pra.Result[]?)?
---@field close fun()? called when the storage is let go
---@field histograms boolean? it keeps native histograms
---@field exemplars boolean? it keeps exemplars
---@field threads integer? Lua states at most, where the program makes them

--- Who asks. Good until the storage function returns.
---@class pra.Context
---@field tenant string empty if there is none
---@field path string
---@field query_string string
---@field remote_addr string
---@field user string
---@field worker integer
---@field headers table<string, string> by names in lower case
local Context = {}

---@param name string in any case
---@return string?
function Context:header(name) end

--- A write request.
---@class pra.Request
---@field version integer 1 or 2; 0 if it was built
---@field series_count integer
---@field sample_count integer
---@field histogram_count integer
---@field exemplar_count integer
---@field metadata pra.Metadata[]
---@field timestamps pra.Column
---@field values pra.Column
---@field start_timestamps pra.Column?
---@field sample_offsets pra.Column
---@field label_offsets pra.Column
---@field histogram_offsets pra.Column
---@field exemplar_offsets pra.Column
---@field fingerprints string[] 16 hexadecimal digits each
---@operator len: integer
local Request = {}

---@return fun(): pra.Series?, integer?
function Request:series() end

---@return fun(): integer?, pra.Labels?
function Request:labels() end

---@return fun(): integer?, string?, string? number of the series, name, value
function Request:each_label() end

--- Only of a request that a storage is handed. Without a kind: the whole series.
---@param number integer
---@param reason string
---@param kind "sample"|"histogram"|"exemplar"|nil
---@param count integer? of data of that kind; default 1
function Request:reject(number, reason, kind, count) end

--- Only of a request from pra.request(). labels: instead of those of the series.
---@param series pra.SeriesTable|pra.Series
---@param labels pra.Labels?
---@return true? ok
---@return string? message
---@return integer? code
function Request:add(series, labels) end

---@param entry pra.Metadata
---@return true? ok
---@return string? message
---@return integer? code
function Request:add_metadata(entry) end

---@return pra.Request? request
---@return string? message
---@return integer? code
function Request:copy() end

---@param relabel pra.Relabel
---@return pra.Request? request
---@return integer|string|nil dropped or message
---@return integer? code
function Request:relabel(relabel) end

---@param n integer
---@return pra.Request[]? requests
---@return string? message
---@return integer? code
function Request:split(n) end

--- One series of a request; good for as long as it is referenced.
---@class pra.Series: pra.SeriesTable
---@field labels pra.Labels
---@field timestamps pra.Column
---@field values pra.Column
---@field start_timestamps pra.Column?
---@field histograms pra.Histogram[]?
---@field exemplars pra.Exemplar[]?
---@field index integer number in the request, from 1
---@field fingerprint string 16 hexadecimal digits
local Series = {}

---@param name string
---@return string?
function Series:label(name) end

---@return fun(): pra.Integer?, number? timestamp, value
function Series:samples() end

---@param reason string
---@param kind "sample"|"histogram"|"exemplar"|nil
---@param count integer?
function Series:reject(reason, kind, count) end

--- Numbers where they are, in the memory of a request. column[i] from 1 to #column, else nil.
---@class pra.Column
---@field [integer] number|pra.Integer
---@field pointer ffi.cdata*? ffi face: the first element
---@operator len: integer
local Column = {}

---@param first integer?
---@param last integer?
---@return (number|pra.Integer)[]
function Column:totable(first, last) end

---@class pra.Matcher
---@field type "="|"!="|"=~"|"!~"
---@field name string
---@field value string
---@field set string[]? all values that match, where they are known
---@field prefix string? of all values that match

---@class pra.Hints
---@field step_ms pra.Integer
---@field func string
---@field start_ms pra.Integer
---@field end_ms pra.Integer
---@field grouping string[]
---@field by boolean
---@field range_ms pra.Integer

--- One query to be sent.
---@class pra.QueryTable
---@field start_ms pra.Integer inclusive
---@field end_ms pra.Integer inclusive
---@field matchers pra.Matcher[]
---@field hints pra.Hints?

--- One query that a storage is asked. Good until the storage function returns.
---@class pra.Query: pra.QueryTable
local Query = {}

---@param labels pra.Labels
---@return boolean
function Query:matches(labels) end

--- Takes the answer to one query. Good until the storage function returns.
---@class pra.Sink
local Sink = {}

---@param series pra.SeriesTable|pra.Series
function Sink:add(series) end

--- Rules of relabelling.
---@class pra.Relabel
local Relabel = {}

---@param labels pra.Labels
---@return pra.Labels? labels nil: dropped
function Relabel:labels(labels) end
