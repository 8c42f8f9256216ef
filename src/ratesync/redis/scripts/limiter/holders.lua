-- Processes that hold permits. Each has a hash with the number of its last request and, by bucket, the permits it holds.
-- One that is silent for too long is taken for dead: what it held counts as if its calls had ended when its time was up.

local BURIED_FOR = 3600
local AT_ONCE = 200

-- One bucket's share of a holder that is dead since an instant. O(log n).
local function bury(field, text, since, name)
  local key, out = string.sub(field, 2), tonumber(text)
  local found = redis.call('HMGET', key, 'kind', 'span', 'grain', 'ends', 'upto', 'missing')
  if not found[1] then
    return
  end
  redis.call('HINCRBY', key, 'out', index_text(-out))
  if found[1] == 'calls' then
    redis.call('SREM', key .. ':holders', name)
  elseif found[1] == 'leaky' then
    redis.call('HINCRBYFLOAT', key, 'missing', out)
  elseif found[1] == 'window' then
    local grain, span, ends = tonumber(found[3]), tonumber(found[2]), tonumber(found[4])
    local free_at = since + span
    if ends > 0 then
      free_at = ends > since and ends or ends + math.ceil((since - ends) / span) * span
    end
    local b = { key = key, log = key .. ':log', upto = tonumber(found[5]), spent = 0 }
    count_until(b, math.ceil(free_at / grain), out)
    redis.call('HINCRBY', key, 'spent', index_text(b.spent))
  end
end

-- Takes permits from a holder's hash. Whether none are left: it stops after some. O(permits taken).
local function take_from(holder, since, name)
  local cursor, taken = '0', 0
  repeat
    local page = redis.call('HSCAN', holder, cursor, 'MATCH', 'o*', 'COUNT', AT_ONCE)
    cursor = page[1]
    for i = 1, #page[2], 2 do
      bury(page[2][i], page[2][i + 1], since, name)
      redis.call('HDEL', holder, page[2][i])
      taken = taken + 1
    end
  until cursor == '0' or taken >= AT_ONCE
  return cursor == '0'
end

-- Buries holders whose time is up; a few at a time. O(1) if there are none.
local function reap(holders, prefix, me, now)
  local silent = redis.call('ZRANGEBYSCORE', holders, '-inf', now, 'WITHSCORES', 'LIMIT', 0, 5)
  for i = 1, #silent, 2 do
    local name, since = silent[i], tonumber(silent[i + 1])
    local holder = prefix .. name
    if holder ~= me then
      redis.call('HSET', holder, 'dead', '1')
      if take_from(holder, since, name) then
        redis.call('ZREM', holders, name)
        redis.call('EXPIRE', holder, BURIED_FOR)
      end
    end
  end
end
