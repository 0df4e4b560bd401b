-- Requests, tokens, calls under way and money of all gateway processes, changed whole or not at all.
--
-- KEYS[1] is the prefix of every key:
--   PREFIX:epoch         hash: id of these counters since they were last empty, the day they began,
--                        from when on budgets may be granted
--   PREFIX:processes     sorted set: process -> when it was last heard of
--   PREFIX:money:DAY     hash: scope -> claimed and charged by all; "@PROCESS SCOPE" -> what of it is
--                        that process's; "." once the day is complete
--   PREFIX:busy:ENDPOINT sorted set: "PROCESS/CLAIM" -> when it stops counting as under way
--   PREFIX:minute:KEY    hash: a sliding minute, by second ("r1764000000", "k1764000000"), with its
--                        sums ("r", "k") and oldest second ("o")
-- ARGV[1] is JSON; `t` is the time in milliseconds, -1 for this server's own.
--
-- Money is in 1e-8 CNY, exact in a Lua number up to 90 million CNY.

local prefix, asked, call = KEYS[1], cjson.decode(ARGV[1]), redis.call
local MINUTE, PRESENT_MS, KEPT_S = 60, 5000, 3 * 86400
local RPM, TPM, CONCURRENCY, BUDGET, CLIENT_RPM = 1, 2, 3, 4, 5
local NEVER = -1

local now = asked.t
if now < 0 then
    local time = call('TIME')
    now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local second = math.floor(now / 1000)

-- Money -------------------------------------------------------------------------------------------
-- Read and written whole, in one command each: a command costs more than what it does.

local accounts = {}

local function of_day(day)
    local found = accounts[day]
    if not found then
        found = {fields = {'.'}, by_scope = {}, complete = false}
        accounts[day] = found
    end
    return found
end

local function share(process, scope)
    return '@' .. process .. ' ' .. scope
end

local function name_scope(day, scope)
    local found = of_day(day)
    if not found.by_scope[scope] then
        found.by_scope[scope] = {used = 0, own = 0, change = 0}
        table.insert(found.fields, scope)
        table.insert(found.fields, share(asked.p, scope))
    end
end

local function mark_complete(day)
    local key = prefix .. ':money:' .. day
    call('HSET', key, '.', 1)
    call('EXPIRE', key, KEPT_S)
end

-- A day that began after these counters did is complete by itself: nothing of it is elsewhere.
local function read_money(began)
    for day, found in pairs(accounts) do
        local held = call('HMGET', prefix .. ':money:' .. day, unpack(found.fields))
        found.complete = held[1] and true
        if not held[1] and began < day then
            mark_complete(day)
            found.complete = true
        end
        for nth = 2, #found.fields, 2 do
            local one = found.by_scope[found.fields[nth]]
            one.used, one.own = tonumber(held[nth] or '0'), tonumber(held[nth + 1] or '0')
        end
    end
end

local function change_by(found, amount)
    found.used = found.used + amount
    found.own = found.own + amount
    found.change = found.change + amount
end

local function write_money()
    for day, found in pairs(accounts) do
        local changed = {}
        for nth = 2, #found.fields, 2 do
            local one = found.by_scope[found.fields[nth]]
            if one.change ~= 0 then
                table.insert(changed, found.fields[nth])
                table.insert(changed, one.used)
                table.insert(changed, found.fields[nth + 1])
                table.insert(changed, one.own)
            end
        end
        if #changed > 0 then
            call('HSET', prefix .. ':money:' .. day, unpack(changed))
        end
    end
end

-- Puts a process's share of a scope at an amount, and the scope's sum with it.
local function set_share(day, process, scope, amount, only_more)
    local key, field = prefix .. ':money:' .. day, share(process, scope)
    local more = amount - tonumber(call('HGET', key, field) or '0')
    if more > 0 or (more < 0 and not only_more) then
        call('HINCRBY', key, scope, more)
        call('HINCRBY', key, field, more)
    end
end

-- A sliding minute (adapters/redis/window.py is its twin) ------------------------------------------

local minutes = {}

local function bucket_of(found, at)
    local bucket = found.buckets[at]
    if not bucket then
        local held = call('HMGET', found.key, 'r' .. at, 'k' .. at)
        bucket = {r = tonumber(held[1] or '0'), k = tonumber(held[2] or '0'), changed = false}
        found.buckets[at] = bucket
    end
    return bucket
end

local function minute(name)
    local found = minutes[name]
    if found then
        return found
    end
    local key = prefix .. ':minute:' .. name
    local held = call('HMGET', key, 'o', 'r', 'k', 'r' .. second, 'k' .. second)
    found = {key = key, o = second, r = 0, k = 0, buckets = {}, gone = {}, changed = false}
    found.is_new = not held[4]
    found.buckets[second] = {r = tonumber(held[4] or '0'), k = tonumber(held[5] or '0')}
    minutes[name] = found
    if held[1] then
        found.o, found.r, found.k = tonumber(held[1]), tonumber(held[2]), tonumber(held[3])
    end
    local edge = second - MINUTE
    if found.o + MINUTE < edge then
        -- Idle for so long that nothing of it counts.
        call('DEL', key)
        found.o, found.r, found.k, found.is_new = second, 0, 0, true
        found.buckets[second] = {r = 0, k = 0}
    end
    while found.o < edge do
        local fields = {'r' .. found.o, 'k' .. found.o}
        local old = call('HMGET', key, fields[1], fields[2])
        if old[1] then
            found.r = found.r - tonumber(old[1])
            found.k = found.k - tonumber(old[2])
            table.insert(found.gone, fields[1])
            table.insert(found.gone, fields[2])
        end
        found.o = found.o + 1
        found.changed = true
    end
    return found
end

local function count(found, at, requests, tokens)
    local bucket = bucket_of(found, at)
    bucket.r = bucket.r + requests
    bucket.k = bucket.k + tokens
    bucket.changed = true
    -- Earlier than the oldest where this server's clock was set back.
    found.o = math.min(found.o, at)
    found.r = found.r + requests
    found.k = found.k + tokens
    found.changed = true
end

local function wait_ms(found, requests, tokens)
    if requests > found.r or tokens > found.k then
        return NEVER
    end
    for at = found.o, math.max(second, found.o) do
        local bucket = bucket_of(found, at)
        requests = requests - bucket.r
        tokens = tokens - bucket.k
        if requests <= 0 and tokens <= 0 then
            return math.max(1, (at + MINUTE + 1) * 1000 - now)
        end
    end
    return NEVER
end

local function write_minutes()
    for _, found in pairs(minutes) do
        if found.changed then
            if #found.gone > 0 then
                call('HDEL', found.key, unpack(found.gone))
            end
            local fields = {'o', found.o, 'r', found.r, 'k', found.k}
            for at, bucket in pairs(found.buckets) do
                if bucket.changed then
                    table.insert(fields, 'r' .. at)
                    table.insert(fields, bucket.r)
                    table.insert(fields, 'k' .. at)
                    table.insert(fields, bucket.k)
                end
            end
            call('HSET', found.key, unpack(fields))
            if found.is_new then
                call('EXPIRE', found.key, 3 * MINUTE)
            end
        end
    end
end

-- Calls under way ---------------------------------------------------------------------------------

local busy_at = {}

local function busy(endpoint)
    local found = busy_at[endpoint]
    if not found then
        local key = prefix .. ':busy:' .. endpoint
        found = {key = key, count = call('ZCARD', key), added = {}}
        busy_at[endpoint] = found
    end
    return found
end

local function is_full(found, most)
    if found.count >= most then
        found.count = found.count - call('ZREMRANGEBYSCORE', found.key, '-inf', now)
    end
    return found.count >= most
end

local function write_busy()
    for _, found in pairs(busy_at) do
        if #found.added > 0 then
            call('ZADD', found.key, unpack(found.added))
        end
    end
end

-- What is asked for -------------------------------------------------------------------------------

local function processes()
    call('ZADD', prefix .. ':processes', now, asked.p)
    call('ZREMRANGEBYSCORE', prefix .. ':processes', '-inf', now - PRESENT_MS)
    return call('ZCARD', prefix .. ':processes')
end

-- {limited endpoint or "", claim, second or -1, tokens more, busy endpoint or "", day, money more,
--  {scope, ...}}
local function settle(one)
    if one[5] ~= '' then
        call('ZREM', prefix .. ':busy:' .. one[5], asked.p .. '/' .. one[2])
    end
    if one[1] ~= '' and one[3] >= 0 and one[4] ~= 0 then
        local found = minute(one[1])
        if one[3] >= found.o then
            count(found, one[3], 0, one[4])
        end
    end
    if one[7] ~= 0 then
        for _, scope in ipairs(one[8]) do
            change_by(of_day(one[6]).by_scope[scope], one[7])
        end
    end
end

-- {endpoint, claim, lasts ms, rpm, tpm, concurrency, tokens, day, cost, {scope, limit, ...}, client,
--  client's rpm}; a bound of -1 is none. Answers {1, second, used, used by others, ...} of each scope
-- or {0, bound, nth scope, used, wait ms, used by others}.
local function claim(one)
    local rpm, tpm, concurrency, tokens = one[4], one[5], one[6], one[7]
    local day, cost, budgets, client_rpm = one[8], one[9], one[10], one[12]
    local client, endpoint, calls
    if client_rpm >= 0 then
        client = minute('c:' .. one[11])
        if client.r >= client_rpm then
            return {0, CLIENT_RPM, 0, client.r, wait_ms(client, client.r + 1 - client_rpm, 0)}
        end
    end
    local found = {}
    for at = 1, #budgets, 2 do
        local used = of_day(day).by_scope[budgets[at]]
        if cost > 0 and used.used + cost > budgets[at + 1] then
            return {0, BUDGET, (at + 1) / 2, used.used, NEVER, used.used - used.own}
        end
        table.insert(found, used)
    end
    if rpm >= 0 or tpm >= 0 then
        endpoint = minute('e:' .. one[1])
        if rpm >= 0 and endpoint.r >= rpm then
            return {0, RPM, 0, endpoint.r, wait_ms(endpoint, endpoint.r + 1 - rpm, 0)}
        end
        if tpm >= 0 and endpoint.k + tokens > tpm then
            return {0, TPM, 0, endpoint.k, wait_ms(endpoint, 0, endpoint.k + tokens - tpm)}
        end
    end
    if concurrency >= 0 then
        calls = busy(one[1])
        if is_full(calls, concurrency) then
            return {0, CONCURRENCY, 0, calls.count, NEVER}
        end
        calls.count = calls.count + 1
        table.insert(calls.added, now + one[3])
        table.insert(calls.added, asked.p .. '/' .. one[2])
    end
    -- It fits: everything is taken.
    if client then
        count(client, second, 1, 0)
    end
    if endpoint then
        count(endpoint, second, 1, tokens)
    end
    local answer = {1, second}
    for _, used in ipairs(found) do
        change_by(used, cost)
        table.insert(answer, used.used)
        table.insert(answer, used.used - used.own)
    end
    return answer
end

-- Settles and claims of one process: {0, processes or 0, answer, ...}; {1}: these counters are not
-- the ones it knows; {2, day}: what was spent before is missing.
local function work()
    local epoch = call('HMGET', prefix .. ':epoch', 'id', 'day')
    if epoch[1] ~= asked.e then
        return {1}
    end
    for _, one in ipairs(asked.s) do
        for _, scope in ipairs(one[8]) do
            name_scope(one[6], scope)
        end
    end
    for _, one in ipairs(asked.c) do
        for at = 1, #one[10], 2 do
            name_scope(one[8], one[10][at])
        end
    end
    read_money(epoch[2])
    for _, one in ipairs(asked.c) do
        if #one[10] > 0 and not of_day(one[8]).complete then
            return {2, one[8]}
        end
    end
    local answers = {0, asked.b == 1 and processes() or 0}
    for _, one in ipairs(asked.s) do
        settle(one)
    end
    for _, one in ipairs(asked.c) do
        table.insert(answers, claim(one))
    end
    write_money()
    write_minutes()
    write_busy()
    return answers
end

-- A process hands in all it has taken, in place of whatever was known of it:
-- {0, epoch, ms until budgets may be granted, processes}; {1}, {2, day} as in `work`.
local function join()
    local epoch = call('HMGET', prefix .. ':epoch', 'id', 'day', 'ready')
    if not epoch[1] then
        return {1}
    end
    of_day(asked.day)
    read_money(epoch[2])
    if not of_day(asked.day).complete then
        return {2, asked.day}
    end
    for day, scopes in pairs(asked.money) do
        for scope, amount in pairs(scopes) do
            set_share(day, asked.p, scope, amount, false)
        end
        call('EXPIRE', prefix .. ':money:' .. day, KEPT_S)
    end
    for endpoint, claims in pairs(asked.busy) do
        local key = prefix .. ':busy:' .. endpoint
        for _, member in ipairs(call('ZRANGE', key, 0, -1)) do
            if string.sub(member, 1, #asked.p + 1) == asked.p .. '/' then
                call('ZREM', key, member)
            end
        end
        for id, left in pairs(claims) do
            call('ZADD', key, now + left, asked.p .. '/' .. id)
        end
    end
    for name, buckets in pairs(asked.minutes) do
        local found = minute(name)
        for _, bucket in ipairs(buckets) do
            local at = second - bucket[1]
            if at >= second - MINUTE then
                count(found, at, bucket[2], bucket[3])
            end
        end
    end
    write_minutes()
    return {0, epoch[1], math.max(0, tonumber(epoch[3]) - now), processes()}
end

-- What the database knows of a day. Where the counters were lost it is taken for what it says of
-- every process, and each that lives puts its own share right when it joins; where they stand
-- (`again`), a share is only ever raised.
local function load()
    if call('EXISTS', prefix .. ':epoch') == 0 then
        call('HSET', prefix .. ':epoch', 'id', asked.id, 'day', asked.today,
            'ready', now + asked.grace)
    end
    of_day(asked.day)
    read_money(call('HGET', prefix .. ':epoch', 'day'))
    if not asked.again and of_day(asked.day).complete then
        return {0}
    end
    for process, scopes in pairs(asked.sums) do
        for scope, amount in pairs(scopes) do
            if process ~= asked.p then
                set_share(asked.day, process, scope, amount, true)
            end
        end
    end
    mark_complete(asked.day)
    return {0}
end

-- {0, used by others, ...} of scopes on a day; {1}, {2, day} as in `work`.
local function spent()
    local began = call('HGET', prefix .. ':epoch', 'day')
    if not began then
        return {1}
    end
    for _, scope in ipairs(asked.scopes) do
        name_scope(asked.day, scope)
    end
    local found = of_day(asked.day)
    read_money(began)
    if not found.complete then
        return {2, asked.day}
    end
    local answer = {0}
    for _, scope in ipairs(asked.scopes) do
        table.insert(answer, found.by_scope[scope].used - found.by_scope[scope].own)
    end
    return answer
end

local told = {work = work, join = join, load = load, spent = spent}
return told[asked.op]()
