-- SPDX-License-Identifier: Apache-2.0
-- How much of a request of remote write 2.0 was written: what its sender is told by headers.
local written = {}

local KINDS = { "sample", "histogram", "exemplar" }
local HEADERS = {
  sample = "X-Prometheus-Remote-Write-Samples-Written",
  histogram = "X-Prometheus-Remote-Write-Histograms-Written",
  exemplar = "X-Prometheus-Remote-Write-Exemplars-Written",
}

--- Data of a request by kind.
function written.counts(request)
  local counts = {}
  for _, kind in ipairs(KINDS) do counts[kind] = request[kind .. "_count"] end
  return counts
end

-- A count as it may stand in a header; nil if it is none.
local function count_of(value)
  if type(value) == "table" then value = value[1] end -- it came twice
  return type(value) == "string" and value:find "^%d+$" and #value <= 15 and tonumber(value) or nil
end

--- What an upstream says that it wrote. header: a function that gives a header of its answer.
--- Who does not say it wrote everything (ok) or, as far as is known, nothing.
function written.said(header, forwarded, ok)
  local counts, any = {}, false
  for _, kind in ipairs(KINDS) do
    counts[kind] = count_of(header(HEADERS[kind]))
    any = any or counts[kind] ~= nil
  end
  for _, kind in ipairs(KINDS) do
    counts[kind] = any and (counts[kind] or 0) or ok and forwarded[kind] or 0
  end
  return counts
end

--- Whether an upstream that was sent 2.0, and answers 2xx, has not understood it: it is to say what
--- of it was written.
function written.not_understood(header, forwarded)
  local some = false
  for _, kind in ipairs(KINDS) do
    if count_of(header(HEADERS[kind])) then return false end
    some = some or forwarded[kind] > 0
  end
  return some
end

--- Adds more to sum.
function written.add(sum, more)
  for _, kind in ipairs(KINDS) do sum[kind] = (sum[kind] or 0) + more[kind] end
  return sum
end

--- Headers for the sender, from the counts that were received (and not refused), forwarded and
--- written; with_dropped: what was dropped on the way counts as written.
function written.headers(received, forwarded, done, with_dropped)
  local headers = {}
  for _, kind in ipairs(KINDS) do
    local dropped = with_dropped and received[kind] - forwarded[kind] or 0
    headers[HEADERS[kind]] = ("%d"):format(done[kind] + dropped)
  end
  return headers
end

--- Headers that say that nothing was written.
function written.none()
  local headers = {}
  for _, kind in ipairs(KINDS) do headers[HEADERS[kind]] = "0" end
  return headers
end

--- Takes the headers out of an answer: a sender of 1.0 would trust them. set(name, nil) removes.
function written.remove(set)
  for _, kind in ipairs(KINDS) do set[HEADERS[kind]] = nil end
end

return written
