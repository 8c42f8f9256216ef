-- One exchange between a process and the quotas of one provider: it reports what ended, says what it holds, and asks for
-- permits. Everything is decided by the server's time, and all keys have the provider as their hash tag.
--
-- KEYS: 1 root, 2 holders, 3 this holder, then for each bucket its hash and its log, or its holders if it is of calls,
--   then the holds, then one that never exists, so that nothing is run while a cluster moves the slot.
-- ARGV: 1 a JSON object:
--   base, fresh, cold      base of time in seconds; name for a new epoch; whether a new root is in doubt
--   epoch, seq, acked      the epoch known ('' for none); number of this request; of the last one that was answered
--   elapsed                seconds by the holder's clock since it sent the last one; -1 for none
--   joins                  0; 1 to come back after having been taken for dead; 2 after data was lost
--   batch                  number of the reports: they are applied once
--   holder, prefix, alive  name; what its key begins with; seconds until it is taken for dead
--   buckets                {kind, permits, span, grain, restore, kept, ends, beat, ttl, own, idle, heard, rtt, hold,
--                          report}, for an adaptive one: adaptive, change {from, version, text, limit, alone, resume, cut}
--   holds                  {place of its key, until}
--   wants                  {units, privileged, horizon, reuse, asks, share, places, costs}
--   leaves                 whether the holder goes away
-- Returns the error `LAYOUT <n>`, and does nothing, where a newer layout is in use. Else JSON: status, now, epoch,
--   workers, for each bucket (fair: -1 for any number)
--   {own, used, limit, closed, rtt, ends_lo, ends_hi, doubt, fair, out, others}, for an adaptive one with
--   {estimate, version, own last version, now, in use, accepted since the last cut}
-- and for each want {{{instant, units}, ..}, place that waits longest, instant, earliest instant, reserved}.
-- O(buckets + wants x log), where a log has at most about a thousand entries. A script's first write comes after all
-- that it reads of the root and the holder; the same request is never carried out twice.

local request = cjson.decode(ARGV[1])
local me = KEYS[3]
local root, now = open_root(KEYS[1], me, request)
if root.layout > LAYOUT then
  return redis.error_reply('LAYOUT ' .. root.layout)
end
local status, batch = recognise(root, me, request, now)
if status ~= 'ok' then
  return cjson.encode({ status = status, now = now, epoch = root.epoch })
end
if request.joins > 0 then
  while not take_from(me, now, request.holder) do end
  redis.call('HDEL', me, 'dead')
end
reap(KEYS[2], request.prefix, me, now)

for i, hold in ipairs(request.holds) do
  local key = KEYS[hold[1]]
  if tonumber(redis.call('GET', key) or 0) < hold[2] and hold[2] > now then
    redis.call('SET', key, hold[2], 'PX', math.ceil((hold[2] - now) * 1000))
  end
end

local applies = request.batch > batch
local workers = math.max(1, redis.call('ZCARD', KEYS[2]))
local buckets = {}
for i, spec in ipairs(request.buckets) do
  local key = KEYS[2 + 2 * i]
  local b = load_bucket(key, KEYS[3 + 2 * i], spec, root, me, now)
  load_line(b, request.holder, now)
  b.own_before = tonumber(redis.call('HGET', me, 'o' .. key) or 0)
  b.out, b.own, b.idle = math.max(0, b.out + spec.own - b.own_before), spec.own, spec.idle
  if applies and spec.report then
    learn(b, spec.report, now)
  end
  if spec.rtt >= 0 and (b.rtt < 0 or spec.rtt < b.rtt or b.rtt_at + 60 < now) then
    b.rtt, b.rtt_at = spec.rtt, now
  end
  if spec.hold > 0 then
    b.held = tonumber(redis.call('GET', KEYS[spec.hold]) or 0)
    b.penalty, b.closed = b.closed, math.max(b.closed, b.held)
  end
  if #b.rivals > 0 then
    b.fair = fair_part(b)
  end
  buckets[i] = b
end

local answers = serve_all(request.wants, buckets, now)

local states = {}
for i, b in ipairs(buckets) do
  states[i] = { b.own, used(b), b.limit, b.closed, b.rtt, b.ends_lo, b.ends_hi,
      math.max(0, b.doubt - now), b.fair or -1, b.out, b.others,
      b.spec.adaptive and estimate_state(b, now) or nil }
  b.closed = b.penalty or b.closed
  save_line(b, request.prefix, request.holder, now)
  save_bucket(b, request.holder, now)
  if b.spec.adaptive then
    save_estimate(b, me)
  end
  redis.call('HSET', b.key, 'kind', b.kind, 'span', b.spec.span, 'grain', b.grain, 'ends', b.spec.ends)
  if b.own > 0 then
    redis.call('HSET', me, 'o' .. b.key, index_text(b.own))
  else
    redis.call('HDEL', me, 'o' .. b.key)
  end
end
save_root(root, now, request.root_ttl)
redis.call('HSET', me, 'seq', index_text(request.seq), 'batch', index_text(request.batch), 'at', now)
redis.call('PEXPIRE', me, math.ceil(request.root_ttl * 1000))
if request.leaves then
  redis.call('ZREM', KEYS[2], request.holder)
else
  redis.call('ZADD', KEYS[2], now + request.alive, request.holder)
  redis.call('PEXPIRE', KEYS[2], math.ceil(request.root_ttl * 1000))
end
return cjson.encode({ status = 'ok', now = now, epoch = root.epoch, workers = workers, buckets = states, wants = answers })
