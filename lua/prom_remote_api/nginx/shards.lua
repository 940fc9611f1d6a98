-- SPDX-License-Identifier: Apache-2.0
-- Several upstreams at once, and one verdict of theirs.
local pra = require "prom_remote_api"
local written = require "prom_remote_api.nginx.written"

local shards = {}

local LONGEST = 0xffffffff -- seconds, that a verdict can ask for

-- Seconds from a Retry-After header, which is a number or a date; nil if it is neither.
local function seconds(value)
  if type(value) ~= "string" then return nil end
  if value:find "^%d+$" then return math.min(tonumber(value), LONGEST) end
  local time = ngx.parse_http_time(value)
  return time and math.max(0, time - ngx.time())
end

-- What a sender may see of an upstream's answer: text, but no pages for browsers.
local function reason(response)
  local kind = response.header["Content-Type"] or "text/plain"
  local line = kind:find "^text/plain" and response.body:match "^[^\r\n]*" or ""
  return line ~= "" and ": " .. line or ""
end

-- How bad a status is; the worst of several is the verdict. 429 comes after 5xx: there are senders
-- that drop what was answered with 429. What is neither success nor failure is an upstream gone
-- wrong.
local function badness(status)
  if status >= 200 and status < 300 then return 0 end
  if status == 429 then return 2 end
  if status >= 400 and status < 500 then return 1 end
  return 3
end

-- Why an answer is none, whatever its status; nil if it is one. What is no HTTP at all nginx takes
-- for the body of a 200 of HTTP/0.9, without headers.
local function nonsense(response)
  if response.truncated then return "it breaks off" end
  local bare = response.status == 200 and next(response.header) == nil
  return bare and response.body ~= "" and "it does not speak HTTP" or nil
end

local function verdict(locations, responses)
  local worst, at, after = 0, nil, nil
  for i, response in ipairs(responses) do
    local bad = badness(response.status)
    if bad > worst then worst, at = bad, i end
    local wish = bad > 1 and seconds(response.header["Retry-After"])
    if wish then after = math.max(after or 0, wish) end
  end
  if worst == 0 then return end
  local status = responses[at].status
  local message = ("%s answered %d%s"):format(locations[at], status, reason(responses[at]))
  if worst == 1 then error(pra.reject { message, status = status }, 0) end
  if worst == 3 and not (status >= 500 and status <= 599) then status = 502 end
  error(pra.retry { message, status = status, after = after }, 0)
end

--- Sends each part of the request out to its internal location, all at the same time, and waits.
--- sums.forwarded and sums.written become what was sent and what the upstreams wrote of it. Raises
--- a verdict if there is anything but success: one that asks for all again, if any upstream does
--- (what the others have written already comes twice, then, and changes nothing); else the refusal.
function shards.forward(out, locations, version, sums)
  local parts = { out }
  if #locations > 1 then parts = assert(out:split(#locations)) end
  local calls, sent, counts = {}, {}, {}
  sums.forwarded, sums.written = written.counts(out), { sample = 0, histogram = 0, exemplar = 0 }
  for i, part in ipairs(parts) do
    if part.series_count > 0 or #part.metadata > 0 then
      local body = assert(part:encode { version = version })
      calls[#calls + 1] = { locations[i], { method = ngx.HTTP_POST, body = body } }
      sent[#sent + 1], counts[#counts + 1] = locations[i], written.counts(part)
    end
  end
  if #calls == 0 then return end
  local responses = { ngx.location.capture_multi(calls) }
  for i, response in ipairs(responses) do
    local header = function(name) return response.header[name] end
    local ok = badness(response.status) == 0
    local why = ok and nonsense(response)
    if ok and not why and version == 2 and written.not_understood(header, counts[i]) then
      why = "it does not know remote write 2.0"
    end
    if why then
      responses[i] = { status = 502, header = {}, body = why }
      ok = false
    end
    written.add(sums.written, written.said(header, counts[i], ok))
  end
  verdict(sent, responses)
end

return shards
