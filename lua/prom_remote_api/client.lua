-- SPDX-License-Identifier: Apache-2.0
-- The side that asks: what is sent to /api/v1/read, and what comes back.
local core = require "prom_remote_api.faces"
local options = require "prom_remote_api.options"

local client = {}

local response_types = { samples = 0, streamed = 1 }
local ENCODE = { "response_types" }
local DECODE = { "limits", "integers" }

--- The body of a read request (a ReadRequest in a block of snappy). A query is a table { start_ms,
--- end_ms, matchers = { { type = "=", name, value }, ... }, hints }, or one that a storage was
--- handed. response_types: "samples" and "streamed", in order of preference; default: samples.
---@param queries pra.QueryTable[]
---@param opts { response_types: string[]? }?
---@return string? body
---@return string? message
---@return integer? code
function client.encode_queries(queries, opts)
  local types = {}
  if opts then options.known(opts, ENCODE) end
  for i, name in ipairs(opts and opts.response_types or {}) do
    types[i] = response_types[name] or error("no such response type: " .. tostring(name), 2)
  end
  -- In LuaJIT serve's queries are of the other face.
  local face = type(queries[1]) == "userdata" and package.loaded["prom_remote_api.core"] or core
  return face.encode_queries(queries, types)
end

--- What the answer to a read request holds: a list for each query, of series tables. The
--- content type says whether it is streamed.
---@param body string
---@param content_type string?
---@param opts { limits: table?, integers: string? }?
---@return pra.SeriesTable[][]? results
---@return string? message
---@return integer? code
function client.decode_answer(body, content_type, opts)
  if opts then options.known(opts, DECODE) else opts = {} end
  local streamed = (content_type or ""):lower():find("application/x-streamed-protobuf", 1, true)
  return core.decode_answer(body, streamed ~= nil, options.limits(core, opts), opts.integers)
end

return client
