-- Stands in for Dovecot: loads the Lua client with the settings of arg[1..3], then does what each line of standard input says
-- (`verify`, `lookup` or `passdb`, and in hexadecimal login, password, protocol, address, secured), and prints result and detail.
dovecot = { auth = {} }
for _, name in ipairs({ "OK", "PASSWORD_MISMATCH", "INTERNAL_FAILURE", "USER_UNKNOWN" }) do
  dovecot.auth["PASSDB_RESULT_" .. name] = name
  dovecot.auth["USERDB_RESULT_" .. name] = name
end
local program, socket, seconds, old = table.unpack(arg)
dofile(program)({ socket = socket, mail_directory = "/srv/mail", uid = 61304, gid = 61305, seconds = tonumber(seconds) })

local function octets(hexadecimal)
  return (hexadecimal:gsub("%x%x", function(pair)
    return string.char(tonumber(pair, 16))
  end))
end

local function shown(value)
  if type(value) ~= "table" then
    return tostring(value)
  end
  local words = {}
  for name, word in pairs(value) do
    words[#words + 1] = name .. "=" .. word
  end
  table.sort(words)
  return table.concat(words, " ")
end

for line in io.lines() do
  local words = {}
  for word in (line .. " "):gmatch("(%S*) ") do
    words[#words + 1] = #words == 0 and word or octets(word)
  end
  local login, password = words[2], words[3]
  local request = { user = login, log_error = function() end, secured = words[6] }
  request[old == "2.3" and "service" or "protocol"] = words[4]
  request[old == "2.3" and "rip" or "remote_ip"] = words[5]
  local call = { verify = auth_password_verify, lookup = auth_userdb_lookup, passdb = auth_passdb_lookup }
  local result, detail = call[words[1]](request, password)
  print(result .. "\t" .. shown(detail))
  io.stdout:flush()
end
