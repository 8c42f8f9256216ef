-- Settles leases. O(items * log mailboxes). Works on a full server too: see write_when_full.
--
-- ARGV[2..5]: worker; results remembered; a name of this call, by which a repetition gets the same answer; number of
--   settlements.
-- ARGV[6..]: for each settlement: provider, connection, key, token, until when the mailbox rests (or empty), flags
--   (`c`: the attempt counts, `s`: it may have been sent), and how many were finished, attempted, unsent; then for each
--   finished one its id, state and result, and the ids of the others.
-- Answers for each settlement 1, or 0 where it was refused.

local worker, results, name, amount = ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local ANSWER = PREFIX .. 'answer:' .. name
local WORKER = worker_key(worker)

write_when_full()
local earlier = call('GET', ANSWER)
if earlier then
  local answer = {}
  for place = 1, #earlier do
    answer[place] = string.byte(earlier, place) - 48
  end
  return answer
end

local function read_settlement(at)
  local settlement = { provider = ARGV[at], connection = ARGV[at + 1], key = ARGV[at + 2], token = ARGV[at + 3] }
  settlement.resume_at = tonumber(ARGV[at + 4]) or -INF
  settlement.counts = string.find(ARGV[at + 5], 'c', 1, true) ~= nil
  settlement.sent = string.find(ARGV[at + 5], 's', 1, true) ~= nil
  local finished, attempted, unsent = string.match(ARGV[at + 5], '(%d+),(%d+),(%d+)')
  settlement.finished, settlement.attempted, settlement.unsent = {}, {}, {}
  at = at + 6
  for _ = 1, tonumber(finished) do
    settlement.finished[ARGV[at]] = at
    at = at + 3
  end
  for _, list in ipairs({ { 'attempted', attempted }, { 'unsent', unsent } }) do
    for _ = 1, tonumber(list[2]) do
      settlement[list[1]][ARGV[at]] = true
      at = at + 1
    end
  end
  return settlement, at
end

-- What becomes of one item.
local function change(settlement, id, record)
  local finished = settlement.finished[id]
  if finished then
    return tonumber(ARGV[finished + 1]), ARGV[finished + 2]
  end
  record.at = INF
  if settlement.attempted[id] then
    record.attempts = record.attempts + (settlement.counts and 1 or 0)
    if settlement.sent and record.sent_as == 0 then
      record.sent_as = tonumber(settlement.token)
    end
    if settlement.resume_at > -INF then
      record.at = settlement.resume_at
    end
    return RETRYABLE
  end
  if settlement.unsent[id] then
    record.sent_as = 0
  end
  return AVAILABLE
end

local returned, closed = {}, {}

local function settle(settlement, hold)
  if not hold or closed[settlement.token] then
    return 0
  end
  local lane, key, items = read_hold(hold)
  if lane.provider ~= settlement.provider or lane.connection ~= settlement.connection or key ~= settlement.key then
    return 0
  end
  give_back(lane, key, items, settlement.resume_at, function(id, record)
    return change(settlement, id, record)
  end)
  closed[settlement.token] = true
  closed[#closed + 1] = settlement.token
  local provider = provider_of(lane.provider).number
  returned[provider] = (returned[provider] or 0) + 1
  return 1
end

local settlements, tokens, at = {}, {}, 6
for place = 1, amount do
  settlements[place], at = read_settlement(at)
  tokens[place] = settlements[place].token
end
local holds, answer = get_many('HMGET', WORKER, tokens), {}
for place, settlement in ipairs(settlements) do
  answer[place] = settle(settlement, holds[place])
end
many('HDEL', WORKER, closed)
flush_ends(results)
sign(worker)
return_holdings(worker, returned)
if #closed > 0 then
  call('SET', ANSWER, table.concat(answer), 'PX', 60000)
end
close_shard()
return answer
