-- Refuses for the servers what they would refuse: when a caller brings many more batches than they take, most of it gets
-- the servers' last refusal again, from here, for a quarter of the work (docs/adr/0045). What is taken counts when its
-- answer comes, as refusals do: both are of the same time. Each thread of Envoy counts alone.
local CALLERS_MAX = 10000 -- being refused at once; beyond, all are forgotten
local HALF_MS = 1000 -- each time, what was counted before counts half
local FORGOTTEN_MS = 10000 -- nothing refused for so long, neither here nor there: the caller is forgotten
local FRESH_MS = 2000 -- the servers refused something so lately: they are full
local PASSED_FULL = 1.2 -- times what is taken goes to full servers, so that they decide, and growing room is found
local PASSED = 3 -- times what is taken goes to servers that are not: twice as much each second, until all goes through
local PASSED_FREE = 5 -- and so many more
local LONGER = 1.2 -- times a refused call's patience is more patience; below, it is another moment of sending
local MS = { H = 3600000, M = 60000, S = 1000, m = 1, u = 1e-3, n = 1e-6 } -- units of grpc-timeout
local OURS = "billow.refusals"
local callers, known = {}, 0

-- How long the call's caller waits; one that does not say waits for ever.
local function timeout_ms(text)
  local unit = MS[text:sub(-1)]
  return unit and tonumber(text:sub(1, -2)) and tonumber(text:sub(1, -2)) * unit or math.huge
end

local function forget(who)
  if callers[who] ~= nil then
    callers[who] = nil
    known = known - 1
  end
end

local function remember(who, now_ms)
  if known >= CALLERS_MAX then
    callers, known = {}, 0
  end
  callers[who] = { seen = 0, taken = 0, halved_ms = now_ms }
  known = known + 1
  return callers[who]
end

local function refused(caller, now_ms, timeout, headers)
  caller.full_ms, caller.refused_ms = now_ms, now_ms
  caller.timeout_ms = timeout_ms(timeout)
  caller.refusal = {
    [":status"] = "200",
    ["content-type"] = "application/grpc",
    ["grpc-status"] = headers:get("grpc-status"),
    ["grpc-message"] = headers:get("grpc-message"),
    ["grpc-status-details-bin"] = headers:get("grpc-status-details-bin"),
  }
end

-- Whether this call is one too many. A call that waits longer than the refused one did is for the servers to judge.
local function too_many(caller, now_ms, timeout)
  local times_halved = math.floor((now_ms - caller.halved_ms) / HALF_MS)
  caller.seen, caller.taken = caller.seen / 2 ^ times_halved, caller.taken / 2 ^ times_halved
  caller.halved_ms = caller.halved_ms + times_halved * HALF_MS
  caller.seen = caller.seen + 1
  local times = now_ms - caller.full_ms < FRESH_MS and PASSED_FULL or PASSED
  local beyond = caller.seen - times * caller.taken - PASSED_FREE
  if timeout_ms(timeout) > LONGER * caller.timeout_ms or math.random() * caller.seen >= beyond then
    return false
  end
  caller.refused_ms = now_ms
  return true
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local who = headers:get("authorization")
  if who == nil then
    return
  end
  local timeout = headers:get("grpc-timeout") or ""
  local caller = callers[who]
  if caller ~= nil then
    local now_ms = handle:timestamp()
    if now_ms - caller.refused_ms >= FORGOTTEN_MS then
      forget(who)
    elseif too_many(caller, now_ms, timeout) then
      handle:respond(caller.refusal, nil)
      return
    end
  end
  local ours = handle:streamInfo():dynamicMetadata()
  ours:set(OURS, "who", who)
  ours:set(OURS, "timeout", timeout)
end

function envoy_on_response(handle)
  local headers = handle:headers()
  local full = headers:get("x-billow-full") ~= nil
  headers:remove("x-billow-full")
  local ours = handle:streamInfo():dynamicMetadata():get(OURS)
  if ours == nil then
    return
  end
  local caller = callers[ours.who]
  if full then
    refused(caller or remember(ours.who, handle:timestamp()), handle:timestamp(), ours.timeout, headers)
  elseif caller ~= nil and (headers:get("grpc-status") or "0") == "0" then
    caller.taken = caller.taken + 1
  end
end
