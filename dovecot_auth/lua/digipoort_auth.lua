--- Carry logins from Dovecot 2.3 and 2.4 to authd and the verdicts back: passdb and userdb for Dovecot's driver `lua`.
--
-- Dovecot loads a rendered file (digipoort-auth.lua.j2) with the settings of this host; that file runs this one, which
-- returns a function that takes the settings and defines what Dovecot calls. It runs in Dovecot's auth-worker: one
-- login at a time in each, over one connection to authd that is kept. docs/authd-protocol.md describes the protocol.
--
-- Settings: `socket` (authd's), `mail_directory`, `uid` and `gid` of the mailboxes' owner, `seconds` (the deadline of
-- one login, however slowly authd answers).
--
-- Nothing that authd says is taken on trust, and what is no verdict is a temporary failure, never a wrong password.

local gettime = require("socket").gettime
local unix = require("socket.unix")

local MAX_REQUEST_OCTETS = 4096
local MAX_REPLY_OCTETS = 4096
local MAX_SECONDS = 60
local MAX_LOGIN_OCTETS = 128
local NO_HOME = "/nonexistent"
local CLOSED = "authd closed the connection"

local ESCAPES = { ["\0"] = "0", ["\1"] = "1", ["\t"] = "t", ["\r"] = "r", ["\n"] = "n" }

--- Return a value as it stands in a request.
local function escaped(value)
  return (value:gsub("[\0\1\t\r\n]", function(octet)
    return "\1" .. ESCAPES[octet]
  end))
end

--- Return a request line, LF included; `fields` is a list of names and values, of which empty ones are left out.
local function request(verb, fields)
  local words = { "DIGIPOORT-AUTH/1", verb }
  for place = 1, #fields, 2 do
    words[#words + 1] = fields[place] .. "=" .. escaped(fields[place + 1])
  end
  return table.concat(words, "\t") .. "\n"
end

--- Return the fields of a reply `ok`; nil when the line is none, or names a field twice.
local function reply_fields(line)
  local words = line:match("^ok(.*)\n$")
  if words == nil or not words:find("^\t") then
    return nil
  end
  local fields = {}
  for word in words:gmatch("\t([^\t]*)") do
    local name, value = word:match("^([a-z_]+)=(.*)$")
    if name == nil or fields[name] ~= nil then
      return nil
    end
    fields[name] = value
  end
  return fields
end

--- Return the verdict of a reply line, and for `ok` the home of its mailbox; raise a sentence for all that is no verdict.
-- The mailbox becomes part of a path, and the login Dovecot's user name.
local function verdict(line, login, mail_directory)
  if line == "fail\n" then
    return "fail"
  elseif line == "temp\n" then
    error("authd has no verdict now; its own log line tells why", 0)
  end
  local fields = reply_fields(line)
  if fields == nil or fields.login ~= login then
    error("authd's reply does not answer the request", 0)
  elseif #login > MAX_LOGIN_OCTETS or not login:find("^[a-z0-9._@-]+$") then
    error("authd accepted a login that cannot exist", 0)
  end
  local mailbox = fields.mailbox
  if mailbox == nil then
    return "ok", NO_HOME
  elseif not mailbox:find("^[a-z0-9]+$") or #mailbox < 4 or #mailbox > 32 then
    error("authd named a mailbox that cannot exist", 0)
  end
  return "ok", mail_directory .. "/" .. mailbox
end

--- Return a function that gives the seconds left of `seconds`, and raises when there are none. A clock that was set back ends
-- the time too: it must not lengthen it.
local function countdown(seconds)
  local begun = gettime()
  return function()
    local gone = gettime() - begun
    if gone < 0 or gone >= seconds then
      error("no verdict in time", 0)
    end
    return seconds - gone
  end
end

--- Let each operation on the connection take so many seconds at most, however small the steps in which it goes on.
local function limit(connection, seconds)
  connection:settimeout(seconds, "b")
  connection:settimeout(seconds, "t")
end

--- Return a reply line, LF included. Raises a sentence, CLOSED when not one octet came.
local function read_reply(connection, left)
  local reply = ""
  repeat
    limit(connection, left())
    local first, failure = connection:receive(1)
    if first == nil then
      if failure == "timeout" then
        error("no verdict in time", 0)
      end
      error(reply == "" and CLOSED or "authd's reply is cut off", 0)
    end
    -- What came with it, without waiting.
    limit(connection, 0)
    local whole, _, part = connection:receive(MAX_REPLY_OCTETS)
    reply = reply .. first .. (whole or part)
    if #reply > MAX_REPLY_OCTETS then
      error("authd's reply is too long", 0)
    end
  until reply:find("\n", 1, true)
  if reply:find("\n", 1, true) ~= #reply then
    error("authd's reply is not one line", 0)
  end
  return reply
end

--- Tell whether nothing can be read: neither an end nor octets that nobody asked for, which must not answer the next login.
local function is_quiet(connection)
  limit(connection, 0)
  local octet, failure = connection:receive(1)
  return octet == nil and failure == "timeout"
end

--- Return a function that asks authd, and keeps the connection for the next time.
local function client(path, seconds)
  local kept = nil

  --- Ask over a connection, which is kept only if all went well: an answer that comes late has nowhere to arrive.
  local function exchange(connection, line, left)
    kept = nil
    local done, reply = pcall(function()
      limit(connection, left())
      local sent = connection:send(line)
      if sent == nil then
        error(CLOSED, 0)
      end
      return read_reply(connection, left)
    end)
    if done then
      kept = connection
    else
      connection:close()
    end
    return done, reply
  end

  return function(line)
    local left = countdown(seconds)
    local connection = kept
    if connection ~= nil then
      if is_quiet(connection) then
        local done, reply = exchange(connection, line, left)
        -- authd was restarted since, and closed it without a word: no reason to turn a user away.
        if done or reply ~= CLOSED then
          return done and reply or error(reply, 0)
        end
      else
        kept = nil
        connection:close()
      end
    end
    connection = (unix.stream or unix)()
    limit(connection, left())
    local connected, failure = connection:connect(path)
    if connected == nil then
      connection:close()
      error("authd cannot be reached at " .. path .. ": " .. failure, 0)
    end
    local done, reply = exchange(connection, line, left)
    return done and reply or error(reply, 0)
  end
end

--- Return the settings; raises for one that cannot be used.
local function checked(settings)
  for _, name in ipairs({ "uid", "gid" }) do
    local number = settings[name]
    -- Never root's.
    assert(math.type(number) == "integer" and number > 0, name .. " must be a number over 0")
  end
  local seconds = settings.seconds
  assert(type(seconds) == "number" and seconds > 0 and seconds <= MAX_SECONDS, "seconds must be over 0 and at most 60")
  assert(type(settings.socket) == "string" and type(settings.mail_directory) == "string", "paths must be strings")
  return settings
end

return function(given)
  local settings = checked(given)
  local ask = client(settings.socket, settings.seconds)
  local account = { uid = tostring(settings.uid), gid = tostring(settings.gid) }

  local function judged(line, login)
    local done, result, home = pcall(function()
      return verdict(ask(line), login, settings.mail_directory)
    end)
    if not done then
      return nil, tostring(result)
    end
    return result, home
  end

  --- What Dovecot asks at a login: the password is judged by authd alone.
  function auth_password_verify(req, password)
    local auth = dovecot.auth
    local login = req.user:lower()
    local fields = { "service", req.protocol or req.service or "", "login", login, "password", password }
    local address, secured = req.remote_ip or req.rip or "", req.secured or ""
    if address ~= "" then
      fields[#fields + 1], fields[#fields + 2] = "ip", address
    end
    if secured ~= "" then
      fields[#fields + 1], fields[#fields + 2] = "secured", "yes"
    end
    local line = request("verify", fields)
    if #line > MAX_REQUEST_OCTETS then
      return auth.PASSDB_RESULT_PASSWORD_MISMATCH, "the credentials are longer than any"
    end
    local result, detail = judged(line, login)
    if result == "ok" then
      return auth.PASSDB_RESULT_OK,
        { userdb_home = detail, userdb_uid = account.uid, userdb_gid = account.gid }
    elseif result == "fail" then
      return auth.PASSDB_RESULT_PASSWORD_MISMATCH, "refused by authd"
    end
    req:log_error(detail)
    return auth.PASSDB_RESULT_INTERNAL_FAILURE, detail
  end

  --- No password comes with such a lookup: answering one would vouch for a login that nobody proved.
  function auth_passdb_lookup(_)
    return dovecot.auth.PASSDB_RESULT_INTERNAL_FAILURE, "there are no lookups of passwords"
  end

  --- Where a mailbox is, for doveadm.
  function auth_userdb_lookup(req)
    local auth = dovecot.auth
    local login = req.user:lower()
    local line = request("lookup", { "service", req.protocol or req.service or "", "login", login })
    if #line > MAX_REQUEST_OCTETS then
      return auth.USERDB_RESULT_USER_UNKNOWN, "the login is longer than any"
    end
    local result, detail = judged(line, login)
    if result == "ok" then
      return auth.USERDB_RESULT_OK, { home = detail, uid = account.uid, gid = account.gid }
    elseif result == "fail" then
      return auth.USERDB_RESULT_USER_UNKNOWN, "unknown to authd"
    end
    req:log_error(detail)
    return auth.USERDB_RESULT_INTERNAL_FAILURE, detail
  end
end
