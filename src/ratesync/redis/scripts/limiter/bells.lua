-- Who waits for permits that others hold, and bells. The bell of a process is a stream; each entry names a quota of which
-- it should ask: somebody wants what it holds, or it waits and some came free.

local MOST_WAITING = 32 -- those who come later ask from time to time
local WAITS_FOR = 1 -- seconds for which one stands in line who does not ask again
local MOST_RINGS, RUNG_FOR = 100, 30

-- Who stands in line for a bucket: {name, instant of its last question, permits that it needs, '1' if called since}.
-- `before` are the permits that those need who come before this holder: all, if it does not stand there. O(those who wait).
local function load_line(b, holder, now)
  b.rivals, b.before = {}, 0
  for name, at, need, called in string.gmatch(b.line, '(%S+) (%S+) (%S+) (%S+)') do
    local entry = { name, at, need, called }
    if name == holder then
      b.entry, b.place = entry, #b.rivals + 1
    elseif tonumber(at) > now - WAITS_FOR then
      b.rivals[#b.rivals + 1] = entry
      b.before = b.before + (b.entry and 0 or tonumber(need))
    end
  end
end

-- The permits that this holder should not exceed, as others stand in line: an equal part for all who hold some or stand
-- in line, but first of all what the first in line needs. It may be none. O(those who wait).
local function fair_part(b)
  if b.kind ~= 'calls' then
    return 1
  end
  local names = {}
  for i, rival in ipairs(b.rivals) do
    names[i] = rival[1]
  end
  local contenders = redis.call('SCARD', b.holders) + (b.own_before > 0 and 0 or 1)
  for _, holds in ipairs(redis.call('SMISMEMBER', b.holders, unpack(names))) do
    contenders = contenders + 1 - holds
  end
  local rest = (b.limit - tonumber(b.rivals[1][3])) / math.max(1, contenders - 1)
  return math.max(0, math.floor(math.min(b.limit / contenders, rest)))
end

-- O(1).
local function ring(prefix, name, key)
  local bell = prefix .. name .. ':bell'
  redis.call('XADD', bell, 'MAXLEN', MOST_RINGS, '*', 'q', key)
  redis.call('EXPIRE', bell, RUNG_FOR)
end

-- Some of those who hold permits of calls hear that somebody waits: enough to give what is needed, if all of them can.
-- O(those who hear of it).
local function ring_holders(b, prefix, holder)
  if b.kind == 'calls' then
    for _, name in ipairs(redis.call('SRANDMEMBER', b.holders, math.min(b.lacks + 1, MOST_WAITING))) do
      if name ~= holder then
        ring(prefix, name, b.key)
      end
    end
  end
end

-- Those first in line for whom permits are free hear of it, once. O(those who wait).
local function call_next(b, prefix, holder, free)
  for _, entry in ipairs(b.rivals) do
    free = free - tonumber(entry[3])
    if free < 0 then
      return
    elseif entry[4] == '0' and entry[1] ~= holder then
      ring(prefix, entry[1], b.key)
      entry[4] = '1'
    end
  end
end

-- Who lacks permits stands in line: in its place, or behind all others if it got some. Who got all that it asked for, or
-- was called and does not ask any more, leaves. O(those who wait).
local function save_line(b, prefix, holder, now)
  if b.lacks then
    if (#b.rivals == 0 or b.place == 1) and not b.spec.heard then
      ring_holders(b, prefix, holder)
    end
    local last = #b.rivals + 1
    local place = b.own > b.spec.own and last or math.min(b.place or last, last)
    table.insert(b.rivals, place, { holder, string.format('%.3f', now), index_text(b.lacks), '0' })
  elseif b.entry and not (b.is_wanted or b.spec.heard) then
    table.insert(b.rivals, b.place, b.entry)
  end
  if b.kind == 'calls' then
    call_next(b, prefix, holder, b.limit - b.spec.kept - b.out)
  end
  local words = {}
  for i = 1, math.min(#b.rivals, MOST_WAITING) do
    words[i] = table.concat(b.rivals[i], ' ')
  end
  b.line = table.concat(words, ' ')
end
