-- The log of a window: when which permits come free. A sorted set of instants, each as a number of grains of time, and
-- in the bucket's hash a field '@<instant>' with the permits. Calls of one grain share an entry, so that a log has at
-- most about a thousand, whatever the limit.

local CHUNK = 500

local function costs_of(b, indexes)
  local costs = {}
  for first = 1, #indexes, CHUNK do
    local fields = {}
    for i = first, math.min(first + CHUNK - 1, #indexes) do
      fields[#fields + 1] = '@' .. indexes[i]
    end
    for _, cost in ipairs(redis.call('HMGET', b.key, unpack(fields))) do
      costs[#costs + 1] = tonumber(cost or 0)
    end
  end
  return costs
end

-- What came free since the last look is no longer counted; what is not asked for any more is deleted. O(entries gone).
local function uncount(b, now)
  local last = math.floor(now / b.grain)
  if last > b.upto then
    local gone = redis.call('ZRANGEBYSCORE', b.log, '(' .. index_text(b.upto), index_text(last))
    for _, cost in ipairs(costs_of(b, gone)) do
      b.spent = b.spent - cost
    end
    b.upto = last
  end
  local before = math.floor((now - b.keep) / b.grain)
  local old = redis.call('ZRANGEBYSCORE', b.log, '-inf', index_text(before), 'LIMIT', 0, CHUNK)
  if #old > 0 then
    local fields = {}
    for i, index in ipairs(old) do
      fields[i] = '@' .. index
    end
    redis.call('HDEL', b.key, unpack(fields))
    redis.call('ZREM', b.log, unpack(old))
  end
end

-- Permits that are counted until an instant. O(log n).
local function count_until(b, index, cost)
  if index > b.upto and cost > 0 then
    redis.call('ZADD', b.log, index_text(index), index_text(index))
    redis.call('HINCRBY', b.key, '@' .. index_text(index), index_text(cost))
    b.spent = b.spent + cost
  end
end

-- Permits that came free since an instant, as far as the log remembers. O(entries since).
local function freed_since(b, at)
  local indexes = redis.call('ZRANGEBYSCORE', b.log, index_text(math.floor(at / b.grain)), index_text(b.upto))
  local freed = 0
  for _, cost in ipairs(costs_of(b, indexes)) do
    freed = freed + cost
  end
  return freed
end

-- What comes free within the horizon: a list of {instant, permits}. O(entries within).
local function load_soon(b, now, horizon)
  if b.soon then
    return
  end
  b.soon = {}
  local last = index_text(math.floor((now + horizon) / b.grain))
  local indexes = redis.call('ZRANGEBYSCORE', b.log, '(' .. index_text(b.upto), last, 'LIMIT', 0, 2 * CHUNK)
  local costs = costs_of(b, indexes)
  for i, index in ipairs(indexes) do
    b.soon[i] = { tonumber(index) * b.grain, costs[i] }
  end
end

-- The instant at which `excess` permits of the log and of others have come free; NEVER if not all do. O(entries).
local function without(b, excess, now)
  if excess <= 0 then
    return now
  end
  local others = b.others
  local from = '(' .. index_text(b.upto)
  for offset = 0, 100000, CHUNK do
    local indexes = redis.call('ZRANGEBYSCORE', b.log, from, '+inf', 'LIMIT', offset, CHUNK)
    local costs = costs_of(b, indexes)
    for i, index in ipairs(indexes) do
      local at = tonumber(index) * b.grain
      if others > 0 and b.others_until <= at then
        excess, others = excess - others, 0
        if excess <= 0 then
          return b.others_until
        end
      end
      excess = excess - costs[i]
      if excess <= 0 then
        return at
      end
    end
    if #indexes < CHUNK then
      break
    end
  end
  return excess <= others and b.others_until or NEVER
end
