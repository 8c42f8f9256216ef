-- The place of a dead letter. ARGV[2]: its id. O(1).
-- Answers its place, empty if it is not known, and `1` if it is a dead letter no more.

local place = call('ZSCORE', DEAD_SET, ARGV[2])
if place then
  return { place, '' }
end
return { call('ZSCORE', GONE, ARGV[2]) or '', '1' }
