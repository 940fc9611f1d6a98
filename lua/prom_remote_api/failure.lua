-- SPDX-License-Identifier: Apache-2.0
-- A failure is nil, message, code, or, from objects that are marked, an error: see strict.lua.
local failure = {}

local Error = {} ---@class pra.Error
Error.__index = Error
Error.__tostring = function(e) return e.message end

local marked = setmetatable({}, { __mode = "k" })

--- From now on the methods of this object raise, and those of the objects that they return; of a
--- list the objects in it. Returns what it was given.
function failure.mark(object)
  local kind = type(object)
  if kind ~= "table" and kind ~= "userdata" and kind ~= "cdata" then return object end
  marked[object] = true
  if kind == "table" and not getmetatable(object) then
    for _, element in ipairs(object) do failure.mark(element) end
  end
  return object
end

--- Passes on results; raises if they are nil, message, code.
function failure.raise(result, message, code, ...)
  if result == nil and code ~= nil then
    error(setmetatable({ message = message, code = code }, Error), 0)
  end
  return failure.mark(result), message, code, ...
end

local function pass(self, ...)
  if marked[self] then return failure.raise(...) end
  return ...
end

--- The methods of these names may fail.
function failure.of(methods, names)
  for _, name in ipairs(names) do
    local method = methods[name]
    methods[name] = function(self, ...) return pass(self, method(self, ...)) end
  end
end

return failure
