-- The estimate of a limit that nobody has told, for a window that is counted as any other. Workers decide what it becomes
-- (ratesync/rules/estimate.py); here it is only kept, with a version: a change is made if the version is still the one
-- from which it was computed.

local TRIAL = 5 -- seconds after which nobody waits for the outcome of a call after a cut any more

-- Reads the estimate and makes the change that the holder asks for. Nothing is written. O(1).
local function load_estimate(b, me)
  local found = redis.call('HMGET', b.key, 'version', 'estimate', 'measured', 'alone', 'resume', 'alone_until',
    'accepted')
  b.version, b.estimate = tonumber(found[1] or 0), found[2] or ''
  b.measured, b.alone, b.resume = tonumber(found[3] or HUGE), found[4] == '1', tonumber(found[5] or 0)
  b.alone_until, b.accepted = tonumber(found[6] or 0), tonumber(found[7] or 0)
  b.mine = tonumber(redis.call('HGET', me, 'e' .. b.key) or 0)
  local change = b.spec.change
  if change and change.from == b.version then
    b.version, b.estimate, b.measured = change.version, change.text, change.limit
    b.alone, b.resume = change.alone, change.resume
    b.mine = change.version
    if change.cut then
      b.accepted, b.alone_until = 0, 0
    end
  end
  b.limit = b.measured
end

-- What the holder and the others do with it. O(1).
local function learn_estimate(b, report)
  b.accepted = b.accepted + report.accepted
  if report.tried == 1 then
    b.alone_until = 0
  end
end

-- What a worker needs to know to compute the next one.
local function estimate_state(b, now)
  return { b.estimate, b.version, b.mine, now, b.out + b.spent, b.accepted }
end

-- O(1).
local function save_estimate(b, me)
  redis.call('HSET', b.key, 'version', index_text(b.version), 'estimate', b.estimate, 'measured', b.measured,
    'alone', b.alone and '1' or '0', 'resume', b.resume, 'alone_until', b.alone_until,
    'accepted', index_text(b.accepted))
  redis.call('HSET', me, 'e' .. b.key, index_text(b.mine))
end
