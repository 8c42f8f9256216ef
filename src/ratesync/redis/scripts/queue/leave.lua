-- Takes one who waited for room out of the line. ARGV[2]: its name. O(log line).

write_when_full()
if call('ZREM', PREFIX .. 'line', ARGV[2]) == 1 then
  call('HDEL', PREFIX .. 'line_until', ARGV[2])
  if call('EXISTS', PREFIX .. 'line') == 1 then
    ring('r')
  end
end
close_shard()
return 'ok'
