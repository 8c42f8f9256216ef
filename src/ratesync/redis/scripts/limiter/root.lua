-- The root of a provider's quotas: time, the epoch of the data, and who holds permits.
-- Part of the exchange script; see exchange.lua for inputs and outputs.

local LAYOUT = 1 -- of the keys; a newer one is told by the root
local NEVER, HUGE = 1e15, 1e15
local JUMP = 1 -- seconds that a request may be on its way, at most, before the server's clock is thought to have jumped

local function index_text(index)
  return string.format('%d', index)
end

-- Reads the root; makes one where there is none. Time is the server's. It never goes back, and where the holder's own
-- clock tells that much less time has passed since its last request, it does not jump ahead. O(1).
local function open_root(key, me, request)
  local found = redis.call('HMGET', key, 'epoch', 'born', 'lost', 'shift', 'last', 'made', 'layout')
  local time = redis.call('TIME')
  local shift = tonumber(found[4] or 0)
  local now = tonumber(time[1]) - request.base + tonumber(time[2]) / 1000000 + shift
  local last = tonumber(found[5] or 0)
  local told = now
  local ahead = now - tonumber(redis.call('HGET', me, 'at') or now) - request.elapsed
  if request.elapsed >= 0 and ahead > JUMP then
    now = now - ahead
  end
  now = math.max(now, last)
  shift = shift + now - told
  local root = { key = key, epoch = found[1], born = tonumber(found[2] or 0), lost = found[3] == '1', shift = shift }
  root.made, root.layout = tonumber(found[6] or now), tonumber(found[7] or LAYOUT)
  if not root.epoch then
    root.epoch, root.born = request.fresh, request.cold and now or -1000000000
  end
  return root, now
end

-- Whether the data is what this holder knows: 'ok'; 'lost' if writes are missing, 'gone' if the holder was taken for
-- dead, 'stale' if a newer request of it came before. O(1).
local function recognise(root, me, request, now)
  local found = redis.call('HMGET', me, 'seq', 'batch', 'dead')
  local seq, batch = tonumber(found[1] or 0), tonumber(found[2] or 0)
  if request.epoch == '' then
    return 'ok', 0
  end
  if request.joins == 0 then
    if request.epoch ~= root.epoch or seq < request.acked then
      return 'lost'
    elseif found[3] then
      return 'gone'
    end
  elseif request.joins == 2 then
    root.lost = true
    if request.epoch == root.epoch then -- writes of this epoch are missing: the others shall notice too
      root.epoch, root.made = request.fresh, now
    end
  end
  if request.epoch == root.epoch and request.seq <= seq then
    return 'stale'
  end
  return 'ok', batch
end

-- O(1).
local function save_root(root, now, ttl)
  redis.call('HSET', root.key, 'epoch', root.epoch, 'born', root.born, 'lost', root.lost and '1' or '0',
    'shift', root.shift, 'last', now, 'made', root.made)
  redis.call('PEXPIRE', root.key, math.ceil(ttl * 1000))
end
