-- A sign of life. ARGV[2]: worker. ARGV[3..]: for each lease in question its provider, connection, key and token.
-- Answers for each lease 1 if the worker holds it, else 0. O(log workers + leases).

local worker = ARGV[2]
local answer = {}
write_when_full()
sign(worker)
for at = 3, #ARGV, 4 do
  local hold = call('HGET', worker_key(worker), ARGV[at + 3])
  local is_same = false
  if hold then
    local lane, key = read_hold(hold)
    is_same = lane.provider == ARGV[at] and lane.connection == ARGV[at + 1] and key == ARGV[at + 2]
  end
  answer[#answer + 1] = is_same and 1 or 0
end
return answer
