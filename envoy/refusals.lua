-- Refuses for the servers what they would refuse: when a caller brings many more batches than they take, most of it gets
-- the servers' last refusal again, from here, for a quarter of the work (docs/adr/0045). Each thread of Envoy counts alone.
local CALLERS_MAX = 10000 -- being refused at once; beyond, all are forgotten
local HALF_MS = 1000 -- what was counted before counts half
local FRESH_MS = 1000 -- no refusal for so long: the caller is forgotten
local PASSED_TIMES = 1.2 -- times what is taken goes to the servers, so that they decide, and growing room is found
local PASSED_FREE = 5 -- and so many more
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

-- Whether this call is one too many. A call that waits longer than the refused one did is for the servers to judge.
local function too_many(caller, now_ms, timeout)
  if now_ms - caller.halved_ms >= HALF_MS then
    caller.seen, caller.passed, caller.refused = caller.seen / 2, caller.passed / 2, caller.refused / 2
    caller.halved_ms = now_ms
  end
  caller.seen = caller.seen + 1
  local taken = math.max(caller.passed - caller.refused, 0)
  local beyond = caller.seen - PASSED_TIMES * taken - PASSED_FREE
  if timeout_ms(timeout) <= caller.timeout_ms and math.random() * caller.seen < beyond then
    return true
  end
  caller.passed = caller.passed + 1
  return false
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
    if now_ms - caller.refused_ms >= FRESH_MS then
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
  if headers:get("x-billow-full") == nil then
    return
  end
  headers:remove("x-billow-full")
  local ours = handle:streamInfo():dynamicMetadata():get(OURS)
  if ours == nil then
    return
  end
  local now_ms = handle:timestamp()
  local caller = callers[ours.who]
  if caller == nil then
    if known >= CALLERS_MAX then
      callers, known = {}, 0
    end
    caller = { seen = 1, passed = 1, refused = 0, halved_ms = now_ms }
    callers[ours.who] = caller
    known = known + 1
  end
  caller.refused = caller.refused + 1
  caller.refused_ms = now_ms
  caller.timeout_ms = timeout_ms(ours.timeout)
  caller.refusal = {
    [":status"] = "200",
    ["content-type"] = "application/grpc",
    ["grpc-status"] = headers:get("grpc-status"),
    ["grpc-message"] = headers:get("grpc-message"),
    ["grpc-status-details-bin"] = headers:get("grpc-status-details-bin"),
  }
end
