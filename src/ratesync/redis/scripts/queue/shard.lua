-- One shard of a queue: time, the root with its counters, lanes, providers. First part of every script of the queue.
--
-- KEYS[1]: the shard's root. All keys of the shard begin with its name less `root`, so they share its hash tag.
-- KEYS[2]: a key that never exists, so that nothing is run while a cluster moves the slot.
-- ARGV[1]: the instant to take for now; empty: the server's time.
-- Every script answers `LAYOUT <n>` as an error, and does nothing, where a newer layout is in use.

local LAYOUT = 1
local call, pack, unpack_from = redis.call, struct.pack, struct.unpack
local byte, sub = string.byte, string.sub
local PREFIX = string.sub(KEYS[1], 1, -5)
local INF = math.huge
local MOST = 1000 -- arguments of one command

local SCHEDULED, AVAILABLE, LEASED, RETRYABLE, COMPLETED, DEAD, CANCELLED = 0, 1, 2, 3, 4, 5, 6
local COUNTED = { [0] = 'scheduled', 'available', 'leased', 'retryable', nil, 'dead' }

local now = tonumber(ARGV[1])
if not now then
  local time = call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1000000
end

local ROOT = { 'number', 'token', 'bell', 'rings', 'virtual', 'pending', 'asleep', 'draining', 'doubt', 'review' }
local root, stored_root = {}, {}
-- The error of a command as it would be without a script: Redis 6 puts words before the code of one that it raises.
local function refusal(reply)
  return redis.error_reply(string.match(reply.err, '%u%u%u+ .*') or reply.err)
end

local found_root = redis.pcall('HMGET', KEYS[1], 'layout', unpack(ROOT))
if found_root.err then
  return refusal(found_root)
end
if found_root[1] and tonumber(found_root[1]) > LAYOUT then
  return redis.error_reply('LAYOUT ' .. found_root[1])
end
for place, name in ipairs(ROOT) do
  root[name] = tonumber(found_root[place + 1] or 0)
  stored_root[name] = root[name]
end
if not found_root[1] then -- numbers given out by a server that lost its data are not given out again
  root.token, root.bell = math.floor(now * 1000), math.floor(now * 1000)
  root.asleep, root.draining = 1, 1
end

local function text(number)
  return string.format('%.17g', number)
end

-- Lets a script write where memory is used up: a server refuses that only for the first write of a script, and not if
-- that one can only free memory. For what takes work out of the queue.
local function write_when_full()
  call('HDEL', KEYS[1], '')
end

-- A command with many arguments, in pieces. O(arguments).
local function many(command, key, arguments)
  for from = 1, #arguments, MOST do
    call(command, key, unpack(arguments, from, math.min(from + MOST - 1, #arguments)))
  end
end

-- As many, for a command that answers with one value for each argument.
local function get_many(command, key, arguments)
  if #arguments <= MOST then
    return #arguments > 0 and call(command, key, unpack(arguments)) or {}
  end
  local all = {}
  for from = 1, #arguments, MOST do
    for _, value in ipairs(call(command, key, unpack(arguments, from, math.min(from + MOST - 1, #arguments)))) do
      all[#all + 1] = value
    end
  end
  return all
end

local function next_number()
  root.number = root.number + 1
  return root.number
end

-- Tells those who listen. `kind`: n(ews), r(oom), d(rained), e(nded: id and record). O(1).
local function ring(kind, ...)
  root.rings = root.rings + 1
  call('XADD', PREFIX .. 'bell', 'MAXLEN', 1000, '*', 'k', kind, 'r', root.rings, 'b', root.bell, ...)
end

local is_news = false -- whether somebody may claim something because of this script, now or at an instant

-- Providers, by name: number, virtual time of the latest turn, highest one of a lane, distance from the queue's, lowest
-- bound on the leased mailboxes of a lane.
local providers, changed_providers = {}, {}

local function provider_of(name)
  local provider = providers[name]
  if provider then
    return provider
  end
  local row = call('HGET', PREFIX .. 'providers', name)
  if not row then
    return nil
  end
  provider = { name = name }
  provider.number, provider.current, provider.latest, provider.ahead, provider.least = unpack_from('<I4dddd', row)
  providers[name] = provider
  return provider
end

local function make_provider(name)
  local provider = provider_of(name)
  if not provider then
    provider = { name = name, number = next_number(), current = 0, latest = 0, ahead = 0, least = INF }
    providers[name], changed_providers[name] = provider, provider
  end
  return provider
end

local function change_provider(provider)
  changed_providers[provider.name] = provider
end

local function provider_key(kind, provider)
  return PREFIX .. kind .. ':' .. string.format('%d', provider.number)
end

-- Lanes, by number.
local ROW = '<dddddBBBI4I4I4I4I4I4I4I4I4I4'
local lanes = {}

local function lane_name(provider, connection)
  return pack('>I4', #provider) .. provider .. connection
end

-- A lane's number in keys and sets, where lanes of equal virtual time stand in the order of their numbers.
local function lane_text(number)
  return string.format('%010d', number)
end

-- The table is made with all its fields at once: growing it field by field takes longer than all the rest.
local function read_lane(number, row)
  local weight, virtual, parked, timer, wake, paused, place, busy, ready, held, scheduled, available, leased, retryable,
    dead, known, rests, length, at = unpack_from(ROW, row)
  local lane = { number = number, text = lane_text(number), stored = row, weight = weight, virtual = virtual,
    parked = parked, timer = timer, wake = wake, paused = paused, place = place, busy = busy, ready = ready,
    held = held, scheduled = scheduled, available = available, leased = leased, retryable = retryable, dead = dead,
    known = known, rests = rests, provider = string.sub(row, at, at + length - 1),
    connection = string.sub(row, at + length), was_virtual = virtual, was_timer = timer, was_wake = wake,
    was_held = held, was_idle = known == 0 and weight == 1, taken = false, chunk = 0, next = 1, keys = false,
    boxes = false, firsts = false, ids = false, records = false, passed = 0, piece = false, held_fields = false }
  lanes[number] = lane
  return lane
end

local function lane_of(number)
  return lanes[number] or read_lane(number, call('HGET', PREFIX .. 'lanes', lane_text(number)))
end

local function find_lane(provider, connection)
  local number = call('HGET', PREFIX .. 'names', lane_name(provider, connection))
  return number and lane_of(tonumber(number))
end

local function lane_key(kind, lane)
  return PREFIX .. kind .. ':' .. lane.text
end

local function write_row(lane)
  return pack(ROW, lane.weight, lane.virtual, lane.parked, lane.timer, lane.wake, lane.paused, lane.place, lane.busy,
    lane.ready, lane.held, lane.scheduled, lane.available, lane.leased, lane.retryable, lane.dead, lane.known,
    lane.rests, #lane.provider) .. lane.provider .. lane.connection
end

-- A selector is two marked parts: `-` for any, or `=` and a name; before them the length of the first one.
local function selector_parts(selector)
  local length = unpack_from('>I4', selector)
  return string.sub(selector, 5, 4 + length), string.sub(selector, 5 + length)
end

local function selects(selector, provider, connection)
  local first, second = selector_parts(selector)
  return (first == '-' or first == '=' .. provider) and (second == '-' or second == '=' .. connection)
end

local pauses
local function is_paused(provider, connection)
  pauses = pauses or call('ZRANGE', PREFIX .. 'pauses', 0, -1)
  for _, pause in ipairs(pauses) do
    if selects(pause, provider, connection) then
      return 1
    end
  end
  return 0
end

-- Pauses are in force at once; what the lanes know of them is looked over some lanes at a time, by whoever comes next.
-- `review`: where that goes on, 0 if there is nothing to do. An order that comes meanwhile begins it anew.
local MOST_REVIEWED = 500 -- lanes that one script looks over, about

-- One step of it; whether there is more. O(pauses * lanes looked at).
local function review()
  if root.review > 0 then
    local found = call('HSCAN', PREFIX .. 'lanes', text(root.review - 1), 'COUNT', MOST_REVIEWED)
    for place = 1, #found[2], 2 do
      local number = tonumber(found[2][place])
      local lane = lanes[number] or read_lane(number, found[2][place + 1])
      lane.paused = is_paused(lane.provider, lane.connection)
    end
    root.review = found[1] == '0' and 0 or found[1] + 1
  end
  return root.review > 0
end

-- Forgets a few lanes without operations that owe nothing: lanes that come and go leave nothing behind. It looks at
-- others each time, as those that are parked stay. O(log lanes).
local function forget_idle(provider)
  local key = provider_key('idle', provider)
  local others = math.max(1, call('ZCOUNT', key, '-inf', provider.current) - 2)
  local from = (root.number + math.floor(now * 1000000)) % others
  for _, number in ipairs(call('ZRANGEBYSCORE', key, '-inf', provider.current, 'LIMIT', from, 3)) do
    local lane = lane_of(tonumber(number))
    if lane.parked <= now and lane.known == 0 and lane.weight == 1 then
      call('ZREM', key, number)
      call('HDEL', PREFIX .. 'lanes', number)
      call('HDEL', PREFIX .. 'names', lane_name(lane.provider, lane.connection))
      call('ZREM', PREFIX .. 'timers', number)
      call('ZREM', provider_key('wakes', provider), number)
      lanes[lane.number] = nil
    end
  end
end

-- The lane, made if need be. O(1), and the number of pauses where it is new.
local function open_lane(provider_name, connection)
  local lane = find_lane(provider_name, connection)
  if lane then
    return lane
  end
  local provider = make_provider(provider_name)
  forget_idle(provider)
  local number = next_number()
  call('HSET', PREFIX .. 'names', lane_name(provider_name, connection), number)
  local row = pack(ROW, 1, 0, -INF, INF, INF, is_paused(provider_name, connection), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    #provider_name) .. provider_name .. connection
  lane = read_lane(number, row)
  lane.stored = nil
  return lane
end

local function count(lane, state, difference)
  local name = COUNTED[state]
  if name then
    lane[name] = lane[name] + difference
  end
end

-- Where a lane is listed (`place`): 0 nowhere, 1 by its turn, 2 among those at their bound, by what is leased of them.
local function list_lane(lane, provider, place)
  local number = lane.text
  if lane.place == 1 and place ~= 1 then
    call('ZREM', provider_key('open', provider), number)
  elseif lane.place == 2 and place ~= 2 then
    call('ZREM', provider_key('bounded', provider), number)
  end
  if place == 1 and (lane.place ~= 1 or lane.virtual ~= lane.was_virtual) then
    call('ZADD', provider_key('open', provider), lane.virtual, number)
  elseif place == 2 and (lane.place ~= 2 or lane.held ~= lane.was_held) then
    call('ZADD', provider_key('bounded', provider), lane.held, number)
  end
  lane.place, lane.was_virtual, lane.was_held = place, lane.virtual, lane.held
end

-- Decides whether a lane may have a turn, and when there will be more to claim of it by itself. O(log lanes).
local function plan_lane(lane)
  local provider = provider_of(lane.provider)
  local wake = INF
  if lane.paused == 0 then
    wake = lane.timer
    if lane.parked > now then
      if lane.ready > 0 then
        wake = lane.parked
      elseif wake < INF then
        wake = math.max(wake, lane.parked)
      end
    end
  end
  lane.wake = wake
  local is_open = lane.ready > 0 and lane.paused == 0 and lane.parked <= now
  list_lane(lane, provider, is_open and math.max(1, lane.place) or 0)
  if lane.timer ~= lane.was_timer then
    if lane.timer < INF then
      call('ZADD', PREFIX .. 'timers', lane.timer, lane.text)
    else
      call('ZREM', PREFIX .. 'timers', lane.text)
    end
  end
  if wake ~= lane.was_wake then
    if wake < INF then
      call('ZADD', provider_key('wakes', provider), wake, lane.text)
    else
      call('ZREM', provider_key('wakes', provider), lane.text)
    end
  end
  lane.was_timer, lane.was_wake = lane.timer, wake
end

-- Whether lanes are busy is counted by provider and by connection. O(1).
local function count_busy(lane)
  local busy = lane.scheduled + lane.available + lane.leased + lane.retryable > 0 and 1 or 0
  if busy ~= lane.busy then
    local key = PREFIX .. 'busy'
    for _, field in ipairs({ 'p' .. lane.provider, 'c' .. lane.connection }) do
      if call('HINCRBY', key, field, busy - lane.busy) <= 0 then
        call('HDEL', key, field)
      end
    end
    lane.busy = busy
    if busy == 0 and root.draining == 1 then
      root.draining = 0
      ring('d')
    end
  end
end

local function write_lanes()
  local rows = {}
  for number, lane in pairs(lanes) do
    plan_lane(lane)
    count_busy(lane)
    local row = write_row(lane)
    if row ~= lane.stored then
      rows[#rows + 1] = lane.text
      rows[#rows + 1] = row
      lane.stored = row
      local is_idle = lane.known == 0 and lane.weight == 1
      if is_idle then
        call('ZADD', provider_key('idle', provider_of(lane.provider)), lane.virtual, lane.text)
      elseif lane.was_idle then
        call('ZREM', provider_key('idle', provider_of(lane.provider)), lane.text)
      end
      lane.was_idle = is_idle
    end
  end
  many('HSET', PREFIX .. 'lanes', rows)
end

-- Writes what has changed. Ends every script that may change something. O(changed lanes * log lanes).
local function close_shard()
  write_lanes()
  for name, provider in pairs(changed_providers) do
    call('HSET', PREFIX .. 'providers', name,
      pack('<I4dddd', provider.number, provider.current, provider.latest, provider.ahead, provider.least))
  end
  if is_news then
    root.bell = root.bell + 1
    if root.asleep == 1 then
      root.asleep = 0
      ring('n')
    end
  end
  local changes = {}
  for _, name in ipairs(ROOT) do
    if root[name] ~= stored_root[name] then
      changes[#changes + 1] = name
      changes[#changes + 1] = text(root[name])
    end
  end
  if not found_root[1] then
    changes[#changes + 1] = 'layout'
    changes[#changes + 1] = LAYOUT
  end
  many('HSET', KEYS[1], changes)
end
