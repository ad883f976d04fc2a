-- Takes units from sliding windows. Each request takes from all of its windows, or from none.
--
-- A window is a list with a timestamp in µs for each unit taken, newest first. What has left the
-- window is dropped when something is taken, so a list never holds more than its limit.
-- KEYS: the windows of all requests.
-- ARGV: for each request its cost and its number of windows, then limit and span in µs of each.
-- Returns the time in µs, then for each request: 1 or 0 (taken or not), the narrowest of its
--          windows (from 1), units left there, µs until there are more, µs until it would be let in.
local call = redis.call
local clock = call('TIME')
local real = clock[1] * 1000000 + clock[2]

local function at(key, index)
  return tonumber(call('LINDEX', key, index))
end

-- How many of a list's units are in the window still: those above the horizon.
local function count(key, size, horizon)
  if size == 0 or at(key, -1) > horizon then
    return size
  end
  local low, high = 0, size - 1
  while low < high do
    local middle = math.floor((low + high) / 2)
    if at(key, middle) > horizon then
      low = middle + 1
    else
      high = middle
    end
  end
  return low
end

-- The windows as they are, and the time by which to judge them.
local function read(keys, arguments, windows)
  local opened, now = {}, real
  for index = 1, windows do
    local key = KEYS[keys + index]
    local limit, span = tonumber(ARGV[arguments + 2 * index]), tonumber(ARGV[arguments + 2 * index + 1])
    local size = call('LLEN', key)
    local newest, believed = size > 0 and at(key, 0) or 0, size
    -- The clock was put back. By a little: it stands still until it has caught up. By more than
    -- the window: what was taken by the other clock says nothing.
    if newest > real + span then
      believed = 0
    elseif newest > now then
      now = newest
    end
    opened[index] = { key = key, limit = limit, span = span, size = size, believed = believed }
  end
  return opened, now
end

local function put(window, now)
  local key = window.key
  if window.used < window.size then
    -- When nothing is left in the window, 1 before 0 empties the list.
    call('LTRIM', key, window.used > 0 and 0 or 1, math.max(window.used - 1, 0))
  end
  for _ = 1, window.units do
    call('LPUSH', key, now)
  end
  call('PEXPIRE', key, math.ceil(window.span / 1000))
  window.left = window.left - window.units
  window.used = window.used + window.units
end

local function take(cost, windows, now)
  local taken, narrowest, longest = 1, 1, 0
  for index, window in ipairs(windows) do
    window.used = count(window.key, window.believed, now - window.span)
    -- What costs more than the whole limit takes all of it, or it could never be had.
    window.units = math.min(cost, window.limit)
    window.left = window.limit - window.used
    local missing = window.units - window.left
    if missing > 0 then
      local wait = at(window.key, window.used - missing) + window.span - now
      if wait > longest then
        taken, narrowest, longest = 0, index, wait
      end
    end
  end
  if taken == 1 then
    for index, window in ipairs(windows) do
      put(window, now)
      if window.left < windows[narrowest].left then
        narrowest = index
      end
    end
  end
  local window = windows[narrowest]
  local more = at(window.key, window.used - 1) + window.span - now
  return taken, narrowest, math.max(window.left, 0), more, longest
end

local answers, keys, argument = { real }, 0, 1
while argument < #ARGV do
  local cost, windows = tonumber(ARGV[argument]), tonumber(ARGV[argument + 1])
  local opened, now = read(keys, argument, windows)
  local size = #answers
  answers[size + 1], answers[size + 2], answers[size + 3], answers[size + 4], answers[size + 5] =
    take(cost, opened, now)
  keys, argument = keys + windows, argument + 2 + 2 * windows
end
return answers
