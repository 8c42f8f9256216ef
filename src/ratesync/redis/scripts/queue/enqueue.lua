-- Accepts items: all or none. O(items * log mailboxes).
--
-- ARGV[2..6]: capacity; most dead letters; seconds and number of results remembered; seconds of a step of priority.
-- ARGV[7..9]: name of one who waits for room, or empty; for how many seconds it stands in line unless it asks again, 0
--   if it waits no longer; mode: empty; `check`: accept nothing, only say whether there would be room; `force`: room was
--   found before.
-- ARGV[10..]: runs of items: provider, connection, not before (or empty), priority, number of items; for each item its
--   id and the tail of its record (see box.lua).
-- Answers `ok`, then for each duplicate its place from 1 and the earlier id; or `full`, `dead`, `wait` and how many
-- operations are pending.

local capacity, most_dead, result_seconds = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local step, waiter, mode = tonumber(ARGV[6]), ARGV[7], ARGV[9]
local LINE, LINE_UNTIL = PREFIX .. 'line', PREFIX .. 'line_until'

local function runs()
  local at = 10
  return function()
    if at > #ARGV then
      return nil
    end
    local run = { provider = ARGV[at], connection = ARGV[at + 1], not_before = tonumber(ARGV[at + 2]) or -INF }
    run.priority, run.count, run.from = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]), at + 5
    at = run.from + 2 * run.count
    return run
  end
end

local function dedupe_of(tail)
  local _, key_length, dedupe_length, at = unpack_from(TAIL, tail)
  if dedupe_length > 0 then
    return string.sub(tail, at + key_length, at + key_length + dedupe_length - 2)
  end
end

-- How many items are new, and whether some are of lanes with dead letters. O(items).
local function look_at_new()
  local new, has_dead, ids, dedupes = 0, false, {}, {}
  for run in runs() do
    local lane = find_lane(run.provider, run.connection)
    for at = run.from, run.from + 2 * run.count - 1, 2 do
      local id, dedupe = ARGV[at], dedupe_of(ARGV[at + 1])
      local mark = dedupe and lane_name(run.provider, run.connection) .. dedupe
      local is_known = ids[id] or call('HEXISTS', ITEMS, id) == 1 or (mark and (dedupes[mark]
        or (lane and call('HEXISTS', DEDUPES, pack('>I4', lane.number) .. dedupe) == 1)))
      if not is_known then
        new, ids[id] = new + 1, true
        if mark then
          dedupes[mark] = true
        end
        has_dead = has_dead or (lane and lane.dead > 0)
      end
    end
  end
  return new, has_dead
end

local function stand_in_line(name, seconds)
  call('HSET', LINE_UNTIL, name, pack('<dd', now, seconds))
end

-- The first in line; those that did not ask again in time are out.
local function first_in_line()
  while true do
    local first = call('ZRANGE', LINE, 0, 0)[1]
    if not first then
      return nil
    end
    local asked_at, seconds = unpack_from('<dd', call('HGET', LINE_UNTIL, first))
    if asked_at > now then -- the server's clock was put back: as if it had asked just now
      stand_in_line(first, seconds)
      return first
    end
    if asked_at + seconds > now then
      return first
    end
    call('ZREM', LINE, first)
    call('HDEL', LINE_UNTIL, first)
    if call('EXISTS', LINE) == 1 then
      ring('r')
    end
  end
end

local function leave_line()
  if waiter ~= '' and call('ZREM', LINE, waiter) == 1 then
    call('HDEL', LINE_UNTIL, waiter)
    if call('EXISTS', LINE) == 1 then
      ring('r')
    end
  end
end

-- What is accepted, gathered: records, then of one run its new mailboxes and their places in the lane.
local fresh, records, boxes, ready, recorded, offered = {}, {}, {}, {}, 0, 0

local function flush(lane)
  many('HSET', ITEMS, records)
  many('HSET', lane_key('box', lane), boxes)
  many('ZADD', lane_key('ready', lane), ready)
  records, boxes, ready, recorded, offered = {}, {}, {}, 0, 0
end

-- The id under which an item is known already. O(1).
local function earlier_of(lane, id, dedupe)
  if fresh[id] then
    return id
  end
  if dedupe then
    local field = pack('>I4', lane.number) .. dedupe
    local earlier = call('HGET', DEDUPES, field)
    if not earlier then
      call('HSET', DEDUPES, field, id)
    end
    return earlier
  end
end

-- Adds an item that is new. O(log mailboxes).
local function add(lane, run, id, tail, key, has_box)
  local number = next_number()
  fresh[id] = true
  lane.known, root.pending = lane.known + 1, root.pending + 1
  recorded = recorded + 2
  records[recorded - 1] = id
  if run.at then
    records[recorded] = pack(HEAD, SCHEDULED + HAS_PAST, lane.number, number, run.score, now)
      .. pack(PAST, 0, 0, 0, run.at) .. tail
    lane.scheduled = lane.scheduled + 1
    set_timer(lane, 's' .. member(number, id), run.at)
    return
  end
  records[recorded] = pack(HEAD, AVAILABLE, lane.number, number, run.score, now) .. tail
  lane.available = lane.available + 1
  if has_box then
    flush(lane)
    join_box(lane, key, id, number, run.score)
    return
  end
  offered = offered + 2
  boxes[offered - 1], boxes[offered] = key, 'i' .. id
  ready[offered - 1], ready[offered] = run.score, member(number, key)
  lane.ready = lane.ready + 1
end

local function read_run(run)
  local ids, keys, dedupes, place = {}, {}, {}, 0
  for at = run.from, run.from + 2 * run.count - 1, 2 do
    local tail = ARGV[at + 1]
    local _, key_length, dedupe_length, begins = unpack_from(TAIL, tail)
    place = place + 1
    ids[place], keys[place] = ARGV[at], sub(tail, begins, begins + key_length - 1)
    dedupes[place] = dedupe_length > 0 and sub(tail, begins + key_length, begins + key_length + dedupe_length - 2)
  end
  return ids, keys, dedupes
end

local function accept_run(run, answer, before)
  if run.not_before > now then
    run.at, run.score = run.not_before, run.not_before - run.priority * step
  else
    run.score = now - run.priority * step
  end
  local lane = open_lane(run.provider, run.connection)
  if not run.at and lane.timer <= now then -- what is due by now comes first, also if there was no time for it yet
    run.at = now
  end
  local ids, keys, dedupes = read_run(run)
  local known, has_box, seen = get_many('HMGET', ITEMS, ids), {}, {}
  if not run.at then
    has_box = get_many('HMGET', lane_key('box', lane), keys)
  end
  for place, id in ipairs(ids) do
    local earlier = known[place] and id or earlier_of(lane, id, dedupes[place])
    if earlier then
      answer[#answer + 1] = before + place
      answer[#answer + 1] = earlier
    else
      local key = keys[place]
      add(lane, run, id, ARGV[run.from + 2 * place - 1], key, has_box[place] or seen[key])
      seen[key] = true
      is_news = true
    end
  end
  flush(lane)
end

local function accept()
  local answer, before = { 'ok' }, 0
  for run in runs() do
    accept_run(run, answer, before)
    before = before + run.count
  end
  return answer
end

local total, last = 0, 9
for run in runs() do
  total, last = total + run.count, run.from + 2 * run.count - 1
  for at = run.from + 1, last, 2 do
    if #(ARGV[at] or '') < 6 then
      return redis.error_reply('ERR an item is cut off')
    end
  end
end
if last ~= #ARGV then
  return redis.error_reply('ERR the number of items is wrong')
end
local answer
local probe = redis.pcall('HSETNX', KEYS[1], 'layout', LAYOUT) -- fails where memory is used up
if type(probe) == 'table' then
  return refusal(probe)
end
forget_old(result_seconds)
local is_roomy = root.pending + total <= capacity and call('EXISTS', LINE) == 0
  and call('ZCARD', DEAD_SET) < most_dead
if mode ~= 'force' and not is_roomy then
  local new, has_dead = look_at_new()
  if new > 0 and has_dead and call('ZCARD', DEAD_SET) >= most_dead then
    leave_line()
    answer = { 'dead', text(root.pending) }
  elseif new > 0 then
    local first = first_in_line()
    if (first and first ~= waiter) or root.pending + new > capacity then
      if waiter == '' or new > capacity or tonumber(ARGV[8]) <= 0 then
        leave_line()
        answer = { 'full', text(root.pending) }
      else
        call('ZADD', LINE, 'NX', next_number(), waiter)
        stand_in_line(waiter, tonumber(ARGV[8]))
        answer = { 'wait', text(root.pending) }
      end
    end
  end
end
if not answer and mode == 'check' then
  answer = { 'ok' }
elseif not answer then
  advance_all()
  answer = accept()
  leave_line()
end
close_shard()
return answer
