-- SPDX-License-Identifier: Apache-2.0
-- Options that several functions take.
local options = {}

local sets = setmetatable({}, { __mode = "k" }) -- list of names → the same as keys

local function set_of(names)
  local set = {}
  for _, name in ipairs(names) do set[name] = true end
  sets[names] = set
  return set
end

--- Raises unless opts is a table, all of whose fields are among names: a slip would switch off a cap
--- or open a door. level: whose fault it is, as error counts it (3: that of our caller's caller).
--- Quick if names is the same list each time.
function options.known(opts, names, level)
  level = level or 3
  if type(opts) ~= "table" then error("options are a table, not a " .. type(opts), level) end
  local all = sets[names] or set_of(names)
  for name in pairs(opts) do
    if not all[name] then error("no such option: " .. tostring(name), level) end
  end
end

--- The limits in the table opts.limits, or nil if there are none, as a face (core) takes them.
function options.limits(face, opts)
  if not opts.limits then return nil end
  local limits = face.Limits()
  for name, value in pairs(opts.limits) do
    if not limits[name] then error("no such limit: " .. tostring(name), 4) end
    limits[name] = value
  end
  return limits
end

return options
