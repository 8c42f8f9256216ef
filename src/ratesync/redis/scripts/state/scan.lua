-- Values in the order of their keys.
-- KEYS: 1 a hash: key -> revision:value. 2 a sorted set of the keys, all scores 0.
-- ARGV: 1 and 2 the first and the last key, as ZRANGEBYLEX takes them. 3 how many at most.
-- Returns key, revision:value of each. O(log n + answer) for n keys.
local answer = {}
for _, key in ipairs(redis.call('ZRANGEBYLEX', KEYS[2], ARGV[1], ARGV[2], 'LIMIT', 0, ARGV[3])) do
    answer[#answer + 1] = key
    answer[#answer + 1] = redis.call('HGET', KEYS[1], key)
end
return answer
