-- Gives a lane a weight. ARGV[2..4]: provider, connection, weight. O(log lanes).

write_when_full()
local weight = tonumber(ARGV[4])
local lane = weight ~= 1 and open_lane(ARGV[2], ARGV[3]) or find_lane(ARGV[2], ARGV[3])
if lane then
  lane.weight = weight
end
close_shard()
return 'ok'
