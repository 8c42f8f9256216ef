-- Grants. A want is a number of units, each of which takes a cost from each of its buckets: all or none. Wants are
-- served in order: one that does not get all holds up those after it that want any of the same buckets.

-- Permits of a bucket that are free at an instant within the horizon.
local function room_at(b, at, kept, now)
  if b.kind == 'penalty' then
    return HUGE
  end
  local room = b.limit - kept - b.out
  if b.kind == 'leaky' then
    return room - math.ceil(b.missing - (at - now) * b.spec.restore - 0.000001)
  elseif b.kind == 'window' then
    room = room - b.spent - b.others
    if at > now then
      for _, entry in ipairs(b.soon) do
        if entry[1] > at then
          break
        end
        room = room + entry[2]
      end
    end
  end
  return room
end

-- Whether calls go one at a time, as it is not known what was used before. O(1).
local function goes_alone(b, now)
  return b.doubt > now and b.others_until <= now
end

-- The first instant until the horizon at which `cost` permits are free; nil if there is none.
local function next_at(b, cost, kept, now, horizon)
  local at = math.max(now, b.closed)
  if b.alone then
    local is_free = at <= now and b.alone_until <= now and room_at(b, now, kept, now) >= cost
    return is_free and now or nil
  end
  if at > now + horizon or (goes_alone(b, now) and b.out > 0) then
    return nil
  end
  local room = room_at(b, now, kept, now)
  if room >= cost or b.kind == 'calls' then
    return at
  elseif b.kind == 'leaky' then
    at = math.max(at, now + (b.missing - (b.limit - kept - b.out - cost)) / b.spec.restore + 0.000001)
    return b.limit - kept - b.out >= cost and at <= now + horizon and at or nil
  elseif horizon > 0 then
    load_soon(b, now, horizon)
    for _, entry in ipairs(b.soon) do
      room = room + entry[2]
      if room >= cost then
        return math.max(at, entry[1])
      end
    end
  end
  return nil
end

-- Permits of calls that this holder may have: where others stand in line, its fair part, or what those before it leave.
local function calls_for(b, kept, now)
  local room = room_at(b, now, kept, now)
  if b.fair then
    room = math.min(room, math.max(b.fair - b.own, room - b.before))
  end
  return math.max(0, room)
end

-- Units for which a bucket of calls has room: idle ones of this holder, free ones, and those that it will reuse.
local function call_units(b, want, cost, kept, now)
  local room = calls_for(b, kept, now)
  return math.floor((b.idle + room) / cost) + want.reuse, room
end

local function units_at(b, want, cost, kept, at, now)
  if b.alone or goes_alone(b, now) then
    return 1
  elseif b.kind == 'calls' then
    local units = call_units(b, want, cost, kept, now)
    return units
  end
  if at > now and b.kind == 'window' then
    load_soon(b, now, at - now)
  end
  return math.floor(room_at(b, at, kept, now) / cost)
end

local function commit(b, want, units, cost, kept, now)
  local permits = units * cost
  if b.kind == 'penalty' then
    return
  elseif b.kind == 'calls' then
    local _, room = call_units(b, want, cost, kept, now)
    local idle = math.min(b.idle, permits)
    b.idle, permits = b.idle - idle, permits - idle
    permits = math.min(permits, room)
  end
  b.out, b.own = b.out + permits, b.own + permits
  if b.alone then
    b.alone_until = now + TRIAL
  end
end

-- Grants units one instant after the other. Returns a list of {instant, units}. O(buckets x instants x entries soon).
local function serve(want, buckets, now)
  local given, left = {}, want.units
  while left > 0 do
    local at, units = now, left
    for i, place in ipairs(want.places) do
      local b = buckets[place]
      local free_at = next_at(b, want.costs[i], b.kept, now, want.horizon)
      if not free_at then
        return given, left
      end
      at = math.max(at, free_at)
    end
    for i, place in ipairs(want.places) do
      local b = buckets[place]
      units = math.min(units, units_at(b, want, want.costs[i], b.kept, at, now))
    end
    if units < 1 then
      return given, left
    end
    local reused = 0
    for i, place in ipairs(want.places) do
      local b = buckets[place]
      if b.kind == 'calls' then
        local all = call_units(b, want, want.costs[i], b.kept, now)
        reused = math.max(reused, units - (all - want.reuse))
      end
      commit(b, want, units, want.costs[i], b.kept, now)
    end
    want.reuse = math.max(0, want.reuse - reused)
    given[#given + 1] = { at, units }
    left = left - units
  end
  return given, 0
end

-- When one unit can be had from a bucket if nobody else asks, and surely not before when. O(entries of the log).
local function wait_for(b, cost, kept, now)
  local at = math.max(now, b.closed)
  if b.kind == 'calls' then
    return b.idle + calls_for(b, kept, now) >= cost and at or NEVER, at
  elseif b.kind == 'penalty' then
    return at, at
  elseif b.kind == 'leaky' then
    local most = b.limit - kept - cost
    local function restored(missing)
      if b.missing <= missing then
        return at
      end
      return missing < 0 and NEVER or math.max(at, now + (b.missing - missing) / b.spec.restore + 0.000001)
    end
    return restored(most - b.out), restored(most)
  end
  local excess = used(b) + cost - b.limit + kept
  local free_at = without(b, excess, now)
  if (b.out > 0 and free_at < b.doubt) or (b.alone and b.alone_until > now) then
    free_at = NEVER
  end
  return math.max(at, free_at), math.max(at, without(b, excess - b.out, now))
end

-- The longest wait among a want's buckets: place, instant, earliest instant, and the instant but for those of calls.
local function longest_wait(want, buckets, kept_of, now)
  local worst, last, earliest, but_calls = 0, 0, 0, 0
  for i, place in ipairs(want.places) do
    local b = buckets[place]
    local free_at, not_before = wait_for(b, want.costs[i], kept_of(b), now)
    if free_at > last then
      worst, last = i, free_at
    end
    earliest = math.max(earliest, not_before)
    if b.kind ~= 'calls' then
      but_calls = math.max(but_calls, free_at)
    end
  end
  return worst, last, earliest, but_calls
end

-- Whether permits of a bucket are missing that others hold, or that are left to those before this holder. Permits of
-- calls are missing only where nothing else is: else they are kept for calls that will be made soon.
local function lacks(b, cost, free_at, but_calls, now)
  if b.kind == 'calls' then
    local missing = b.idle + calls_for(b, b.kept, now) < cost
    return missing and but_calls <= now and (b.out > b.own or #b.rivals > 0)
  end
  return b.out > b.own and free_at >= NEVER and b.limit - b.kept - b.out < cost + b.spent
end

-- Serves all wants in order. O(wants x buckets x log).
local function serve_all(wants, buckets, now)
  local answers, blocked = {}, {}
  for number, want in ipairs(wants) do
    local level, held_up = want.privileged and 2 or 1, 0
    for _, place in ipairs(want.places) do
      local b = buckets[place]
      held_up = math.max(held_up, blocked[place] or 0)
      b.kept = want.privileged and 0 or b.spec.kept
      b.is_wanted = b.is_wanted or want.units > 0
    end
    local given, left = {}, want.units
    if held_up < level then
      given, left = serve(want, buckets, now)
    end
    local answer = { given }
    if left > 0 or (want.asks and want.units == 0) then
      local worst, free_at, earliest, but_calls = longest_wait(want, buckets, function(b) return b.kept end, now)
      local reserved = false
      if not want.privileged and (free_at > now or held_up == 1) then
        local _, at = longest_wait(want, buckets, function() return 0 end, now)
        reserved = at <= now
      end
      answer = { given, worst, free_at, earliest, reserved and 1 or 0 }
      for i, place in ipairs(want.places) do
        local b = buckets[place]
        if want.units > 0 then
          blocked[place] = math.max(blocked[place] or 0, (reserved and held_up < 2) and 1 or 2)
        end
        if want.units > 0 and lacks(b, want.costs[i], free_at, but_calls, now) then
          b.lacks = b.lacks or want.costs[i]
        end
      end
    elseif want.share then
      answer = { given, longest_wait(want, buckets, function(b) return b.kept end, now) }
      answer[5] = 0 -- not reserved
    end
    answers[number] = answer
  end
  return answers
end
