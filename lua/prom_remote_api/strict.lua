-- SPDX-License-Identifier: Apache-2.0

--- local pra = require "prom_remote_api.strict": the same module, but what fails raises a table
--- { message, code }, of which tostring gives the message, instead of returning nil, message, code.
--- So do the methods of all objects that come from it, and of the requests that its handlers hand to
--- a storage.
local pra = require "prom_remote_api"
local failure = require "prom_remote_api.failure"

local strict = {}
for name, value in pairs(pra) do strict[name] = value end

for _, name in ipairs { "decode_histogram", "decode", "request", "relabel", "encode_queries",
  "decode_answer" } do
  local plain = pra[name]
  strict[name] = function(...) return failure.raise(plain(...)) end
end

local function strict_storage(options)
  local storage = type(options) == "table" and options.storage
  local write = type(storage) == "table" and storage.write
  if type(write) ~= "function" then return options end
  local all = {}
  for name, value in pairs(options) do all[name] = value end
  all.storage = setmetatable({
    write = function(ctx, request) return write(ctx, failure.mark(request)) end,
  }, { __index = storage })
  return all
end

for _, name in ipairs { "handler", "serve" } do
  local plain = pra[name]
  strict[name] = function(options) return failure.raise(plain(strict_storage(options))) end
end

return strict
