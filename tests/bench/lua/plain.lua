-- SPDX-License-Identifier: Apache-2.0
-- A decoder of labels in plain Lua, as quick as we could write it: what users of Lua had before.
local plain = {}

local byte, sub = string.byte, string.sub
local unpack_string = string.unpack -- Lua 5.3 and later

-- A varint, as a number, and where it ends.
local function varint(text, at)
  local b = byte(text, at)
  if b < 128 then return b, at + 1 end
  local value, factor = b - 128, 128
  repeat
    at = at + 1
    b = byte(text, at)
    value = value + (b % 128) * factor
    factor = factor * 128
  until b < 128
  return value, at + 1
end

-- Behind the value of a field.
local function skip(text, at, wire_type)
  local size
  if wire_type == 0 then
    size, at = varint(text, at)
    return at
  elseif wire_type == 1 then
    return at + 8
  elseif wire_type == 2 then
    size, at = varint(text, at)
    return at + size
  elseif wire_type == 5 then
    return at + 4
  end
  error "malformed"
end

-- Name and value of the label that lies from at to before stop.
local function label_between(text, at, stop)
  local name, value, tag, size = "", "", nil, nil
  while at < stop do
    tag, at = varint(text, at)
    if tag == 10 or tag == 18 then
      size, at = varint(text, at)
      local found = sub(text, at, at + size - 1)
      at = at + size
      if tag == 10 then name = found else value = found end
    else
      at = skip(text, at, tag % 8)
    end
  end
  assert(at == stop, "malformed")
  return name, value
end

local label
if unpack_string then
  -- A label of short strings in the usual order is read in one call.
  function label(text, at, stop)
    if stop - at < 128 and byte(text, at) == 10 and stop + 128 < #text then
      local name, tag, value, behind = unpack_string("s1Bs1", text, at + 1)
      if tag == 18 and behind == stop then return name, value end
    end
    return label_between(text, at, stop)
  end
else
  function label(text, at, stop)
    if stop - at < 128 then
      local tag, size = byte(text, at, at + 1)
      local middle = at + 2 + size
      local next_tag, next_size = byte(text, middle, middle + 1)
      if tag == 10 and next_tag == 18 and middle + 2 + next_size == stop then
        return sub(text, at + 2, middle - 1), sub(text, middle + 2, stop - 1)
      end
    end
    return label_between(text, at, stop)
  end
end

-- The labels of a series in a table.
local function labels_between(text, at, stop)
  local labels, tag, size = {}, nil, nil
  while at < stop do
    tag, at = varint(text, at)
    if tag == 10 then
      size, at = varint(text, at)
      local name, value = label(text, at, at + size)
      labels[name] = value
      at = at + size
    else
      at = skip(text, at, tag % 8)
    end
  end
  return labels
end

-- Calls visit with the names and values of the labels of a series.
local function visit_between(text, at, stop, visit)
  local tag, size
  while at < stop do
    tag, at = varint(text, at)
    if tag == 10 then
      size, at = varint(text, at)
      visit(label(text, at, at + size))
      at = at + size
    else
      at = skip(text, at, tag % 8)
    end
  end
end

--- Calls each(text, from, before, arg) for every series of a write request of 1.0.
local function each_series(text, each, arg)
  local at, stop, tag, size = 1, #text + 1, nil, nil
  while at < stop do
    tag, at = varint(text, at)
    if tag == 10 then
      size, at = varint(text, at)
      each(text, at, at + size, arg)
      at = at + size
    else
      at = skip(text, at, tag % 8)
    end
  end
  assert(at == stop, "malformed")
end

--- Calls visit(name, value) for each label of a message.
function plain.each_label(text, visit) each_series(text, visit_between, visit) end

--- A list of tables of labels.
function plain.labels(text)
  local list, count = {}, 0
  each_series(text, function(_, at, stop)
    count = count + 1
    list[count] = labels_between(text, at, stop)
  end)
  return list
end

return plain
