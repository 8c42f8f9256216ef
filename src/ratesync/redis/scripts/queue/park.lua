-- Leaves a lane alone until an instant. ARGV[2..4]: provider, connection, instant. O(log lanes).

write_when_full()
local at = tonumber(ARGV[4])
local lane = at > now and open_lane(ARGV[2], ARGV[3]) or find_lane(ARGV[2], ARGV[3])
if lane then
  lane.parked = at
end
is_news = true
close_shard()
return 'ok'
