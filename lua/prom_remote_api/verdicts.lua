-- SPDX-License-Identifier: Apache-2.0
-- How a storage function says that it did not work.
local core = require "prom_remote_api.faces"

local verdicts = {}

core.verdict.__tostring = function(verdict) return verdict.message end

local function whole(number, low, high)
  return type(number) == "number" and number % 1 == 0 and number >= low and number <= high
end

local function verdict(code, spec, allowed)
  if type(spec) ~= "table" then spec = { spec } end
  local status, after = spec.status, spec.after
  if status and not allowed(status) then
    error("status " .. tostring(status) .. " does not say this", 3)
  end
  if after and not whole(after, 0, 0xffffffff) then
    error("after is a whole number of seconds", 3)
  end
  local message = tostring(spec[1] or core.strerror(code))
  return setmetatable({ code = code, message = message, status = status, after = after },
    core.verdict)
end

---@class pra.Verdict
---@field message string
---@field code integer
---@field status integer?
---@field after integer?

--- The request is wrong and will stay so: error(pra.reject "no such tenant"), or with another
--- status than 400: error(pra.reject { "no such tenant", status = 404 }).
---@param spec string|{ [1]: string, status: integer? }
---@return pra.Verdict
function verdicts.reject(spec)
  return verdict(core.ERR_REJECT, spec, function(status)
    return whole(status, 400, 499) and status ~= 429
  end)
end

--- It may work later: error(pra.retry "compacting"), or with another status than 503 (429, 5xx) and
--- seconds to wait: error(pra.retry { "too fast", status = 429, after = 30 }).
---@param spec string|{ [1]: string, status: integer?, after: integer? }
---@return pra.Verdict
function verdicts.retry(spec)
  return verdict(core.ERR_RETRY, spec, function(status)
    return status == 429 or whole(status, 500, 599)
  end)
end

return verdicts
