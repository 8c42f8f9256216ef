-- Accepts one item where that is all there is to do, as mostly. First part of enqueue.lua, whose arguments it takes.
-- O(log mailboxes). Where anything else is to be done it leaves all as it was, and what follows does it.
--
-- It makes no functions, since a server makes those of a script anew whenever it runs it: that takes longer than this.

repeat
  local provider, connection, id, tail = ARGV[10], ARGV[11], ARGV[15], ARGV[16]
  if #ARGV ~= 16 or ARGV[7] ~= '' or ARGV[9] ~= '' or ARGV[12] ~= '' or #tail < 6 then
    break -- several items, or one that waits for room or for an instant
  end
  local call, pcall, pack, unpack_from, sub = redis.call, redis.pcall, struct.pack, struct.unpack, string.sub
  local prefix = sub(KEYS[1], 1, -5)
  local priority, key_length, dedupe_length, at = unpack_from('<hHH', tail)
  local root = pcall('HMGET', KEYS[1], 'layout', 'number', 'bell', 'pending', 'asleep', 'rings')
  if root[1] ~= '1' or dedupe_length > 0 then
    break
  end
  local number, bell, pending = (root[2] or 0) + 1, (root[3] or 0) + 1, (root[4] or 0) + 1
  if number % 64 == 0 or pending > tonumber(ARGV[2]) or call('EXISTS', prefix .. 'line') == 1 then
    break -- there may be no room; and now and then what is old is forgotten
  end
  local lane = call('HGET', prefix .. 'names', pack('>I4', #provider) .. provider .. connection)
  lane = lane and string.format('%010d', lane)
  local row = lane and call('HGET', prefix .. 'lanes', lane)
  if not row then
    break
  end
  local now = tonumber(ARGV[1])
  if not now then
    local time = call('TIME')
    now = time[1] + time[2] / 1000000
  end
  local _, virtual, parked, timer, _, paused, place, busy, ready, _, _, available, _, _, dead, known = unpack_from(
    '<dddddBBBI4I4I4I4I4I4I4I4', row)
  if known == 0 or dead > 0 or timer <= now or (ready == 0 and (paused == 1 or parked > now)) then
    break -- the lane was idle, has dead letters or something that is due, or stays closed
  end
  local key = sub(tail, at, at + key_length - 1)
  local boxes = prefix .. 'box:' .. lane
  if pcall('HSETNX', boxes, key, 'i' .. id) ~= 1 then
    break -- the mailbox has items, or memory is used up
  end
  local score = now - priority * ARGV[6]
  if call('HSETNX', prefix .. 'items', id, pack('<BI4I6dd', 1, lane, number, score, now) .. tail) == 0 then
    call('HDEL', boxes, key)
    break
  end
  call('ZADD', prefix .. 'ready:' .. lane, score, pack('>I6', number) .. key)
  if ready == 0 then
    local own = unpack_from('<I4', call('HGET', prefix .. 'providers', provider))
    call('ZADD', prefix .. 'open:' .. own, virtual, lane)
    place = 1
  end
  if busy == 0 then
    call('HINCRBY', prefix .. 'busy', 'p' .. provider, 1)
    call('HINCRBY', prefix .. 'busy', 'c' .. connection, 1)
  end
  call('HSET', prefix .. 'lanes', lane, sub(row, 1, 41) .. pack('<BBI4', place, 1, ready + 1) .. sub(row, 48, 55)
    .. pack('<I4', available + 1) .. sub(row, 60, 71) .. pack('<I4', known + 1) .. sub(row, 76))
  if root[5] == '1' then
    local rings = (root[6] or 0) + 1
    call('XADD', prefix .. 'bell', 'MAXLEN', 1000, '*', 'k', 'n', 'r', rings, 'b', bell)
    call('HSET', KEYS[1], 'number', number, 'bell', bell, 'pending', pending, 'asleep', 0, 'rings', rings)
  else
    call('HSET', KEYS[1], 'number', number, 'bell', bell, 'pending', pending)
  end
  return { 'ok' }
until true
