-- One quota at one scope. `out` are permits that processes hold: leased, or of calls under way. Kinds: 'window' counts
-- permits until instants in a log, 'leaky' lets what is missing come back at a rate, 'calls' counts `out` only, and
-- 'penalty' has no permits.

local FIELDS = { 'out', 'spent', 'upto', 'others', 'others_until', 'doubt', 'limit', 'closed', 'missing', 'missing_at',
  'read_at', 'rtt', 'rtt_at', 'ends_lo', 'ends_hi', 'wary' }

-- Reads a bucket; a new one is in doubt for as long as somebody may have used it before the root was. O(1).
local function load_bucket(key, beside, spec, root, me, now)
  local found = redis.call('HMGET', key, 'line', unpack(FIELDS))
  local line = table.remove(found, 1)
  local b = { key = key, spec = spec, kind = spec.kind, grain = spec.grain }
  if b.kind == 'calls' then
    b.holders = beside
  else
    b.log = beside
  end
  for i, name in ipairs(FIELDS) do
    b[name] = tonumber(found[i] or 0)
  end
  b.line = line or ''
  b.keep = b.read_at > 0 and math.min(60, spec.span) or 0
  local doubt = math.min(spec.span, 60)
  if not found[1] then
    b.limit, b.missing_at, b.rtt = spec.permits, now, -1
    if b.kind == 'window' then
      b.doubt = root.born + doubt
      if spec.ends > 0 then
        b.doubt = math.min(b.doubt, spec.ends)
      end
    elseif b.kind == 'leaky' then
      b.missing = math.max(0, spec.permits - (now - root.born) * spec.restore)
      b.wary = b.missing > 0 and 1 or 0
    end
  end
  if spec.adaptive then
    load_estimate(b, me)
    b.doubt, b.closed = 0, math.max(b.closed, b.resume)
  else
    b.limit = math.min(b.limit, spec.permits)
  end
  if root.lost then
    b.closed = math.max(b.closed, root.made + math.max(doubt, spec.beat))
  end
  if b.kind == 'window' then
    uncount(b, now)
    if b.others_until <= now then
      b.others = 0
    end
  elseif b.kind == 'leaky' then
    b.missing = math.max(0, b.missing - math.max(0, now - b.missing_at) * spec.restore)
    b.missing_at = now
  end
  return b
end

local function used(b)
  return b.out + b.spent + b.others + math.ceil(b.missing)
end

-- What the holder reports: ended calls, and what answers told. Not applied twice: see `batch`.
local function learn(b, report, now)
  for _, entry in ipairs(report.log or {}) do
    count_until(b, entry[1], entry[2])
  end
  b.missing = b.missing + (report.charged or 0)
  for _, reading in ipairs(report.readings or {}) do
    if reading.at >= b.read_at then
      b.read_at = reading.at
      b.limit = math.min(b.spec.permits, reading.limit)
      if reading.lo then
        b.ends_lo, b.ends_hi = reading.lo, reading.hi
      end
      if reading.remaining then
        local own = b.out - report.idle
        if b.kind == 'leaky' then
          local told = reading.limit - reading.remaining - (now - reading.at) * b.spec.restore
          b.missing = math.max(0, told - own, b.wary == 1 and 0 or b.missing)
          b.wary = 0
        else
          own = own + b.spent + freed_since(b, reading.at)
          local others = math.max(0, reading.limit - reading.remaining - own)
          b.doubt = 0
          if others >= b.others then -- the least that they use, as calls under way may not have been counted yet
            b.others, b.others_until = others, now + reading.lasts
            b.doubt = others > 0 and reading.doubt > 0 and now + reading.doubt or 0
          end
        end
      end
    end
  end
  if b.spec.adaptive then
    learn_estimate(b, report)
    return
  elseif report.refused == 0 then
    return
  end
  if b.kind == 'penalty' then
    b.closed = math.max(b.closed, report.refused_at + b.spec.span)
  elseif b.kind == 'leaky' and report.refused == 2 then
    b.missing = math.max(b.missing, b.limit - b.out)
  elseif b.kind == 'window' then
    local doubtful = now < b.doubt and now >= b.others_until
    if doubtful or (b.spec.ends > 0 and report.refused == 2) then
      b.others = math.max(0, b.limit - b.out - b.spent)
      b.others_until = b.spec.ends > 0 and b.spec.ends or b.doubt
      b.doubt = 0
    end
  end
end

-- Notes whether this holder has permits of calls. O(1).
local function save_holders(b, holder, ttl)
  if b.own > 0 then
    redis.call('SADD', b.holders, holder)
    redis.call('PEXPIRE', b.holders, ttl)
  elseif b.own_before > 0 then
    redis.call('SREM', b.holders, holder)
  end
end

-- Writes a bucket back. It lives as long as anything of it counts. O(1).
local function save_bucket(b, holder, now)
  redis.call('HSET', b.key, 'out', b.out, 'spent', b.spent, 'upto', index_text(b.upto), 'others', b.others,
    'others_until', b.others_until, 'doubt', b.doubt, 'limit', b.limit, 'closed', b.closed, 'missing', b.missing,
    'missing_at', b.missing_at, 'read_at', b.read_at, 'rtt', b.rtt, 'rtt_at', b.rtt_at, 'ends_lo', b.ends_lo,
    'ends_hi', b.ends_hi, 'wary', b.wary, 'line', b.line)
  local ttl = math.ceil(1000 * math.max(b.spec.ttl, b.closed - now, b.others_until - now, b.doubt - now))
  redis.call('PEXPIRE', b.key, ttl)
  if b.kind == 'window' then
    redis.call('PEXPIRE', b.log, ttl)
  end
  if b.holders then
    save_holders(b, holder, ttl)
  end
end
