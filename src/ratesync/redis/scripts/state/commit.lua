-- Make all writes of values or none.
-- KEYS: 1 a hash: key -> revision:value. 2 a sorted set of the keys, all scores 0, so that it is in their order.
--       3 a string: the highest revision of a key that was deleted. 4 what this call answered, should it be repeated.
-- ARGV: 1 how many seconds that is kept. Then four for each write: the key, the revision that it asks for ('' for
--       none), 1 if there is a value, the value.
-- Returns {1, each write's revision or 0 if deleted} or {0, the number of a write, the revision it met}: a conflict,
-- nothing was written. O(w log n) for w writes and n keys. Only the fourth key expires.
local before = redis.call('GET', KEYS[4])
if before then
    local answer = {1}
    for revision in string.gmatch(before, '%d+') do
        answer[#answer + 1] = tonumber(revision)
    end
    return answer
end

local revisions = {}
for at = 2, #ARGV, 4 do
    local stored = redis.call('HGET', KEYS[1], ARGV[at])
    local revision = stored and tonumber(string.match(stored, '^%d+')) or 0
    if ARGV[at + 1] ~= '' and tonumber(ARGV[at + 1]) ~= revision then
        return {0, (at - 2) / 4, revision}
    end
    revisions[at] = revision
end

local deleted = tonumber(redis.call('GET', KEYS[3]) or 0)
local start, answer = deleted, {1}
for at = 2, #ARGV, 4 do
    local key, revision = ARGV[at], revisions[at]
    if ARGV[at + 2] == '1' then
        if revision == 0 then
            revision = start
            redis.call('ZADD', KEYS[2], 0, key)
        end
        revision = revision + 1
        redis.call('HSET', KEYS[1], key, string.format('%.0f:', revision) .. ARGV[at + 3])
        answer[#answer + 1] = revision
    else
        if revision > 0 then
            redis.call('ZREM', KEYS[2], key)
            redis.call('HDEL', KEYS[1], key)
            deleted = math.max(deleted, revision)
        end
        answer[#answer + 1] = 0
    end
end
if deleted > start then
    redis.call('SET', KEYS[3], string.format('%.0f', deleted))
end
local told = {}
for at = 2, #answer do
    told[#told + 1] = string.format('%.0f', answer[at])
end
redis.call('SET', KEYS[4], table.concat(told, ' '), 'EX', ARGV[1])
return answer
