package logs_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plugwire/plugwire/core/internal/logs"
)

// The loggers wrote these lines themselves, with their own defaults unless the
// name says otherwise.
func TestFormats(t *testing.T) {
	for _, test := range []struct{ name, line, want string }{
		// JSON, Node.js.
		{
			"pino", `{"level":40,"time":1796064681057,"pid":29218,"hostname":"vm","free":3,"msg":"low disk"}`,
			"WARN low disk | fields.pid=Int64(29218) | hostname=vm | free=Int64(3)",
		},
		{"pino trace", `{"level":10,"time":1796064681058,"msg":"t"}`, "DEBUG-4 t"},
		{"pino debug", `{"level":20,"time":1796064681058,"msg":"t"}`, "DEBUG t"},
		{"pino info", `{"level":30,"time":1796064681058,"msg":"t"}`, "INFO t"},
		{"pino bare", `{"level":50,"msg":"bare"}`, "ERROR bare"},
		{"pino fatal", `{"level":60,"time":1796064681058,"msg":"f"}`, "ERROR+4 f"},
		{"pino custom", `{"level":35,"time":1796064681059,"msg":"custom"}`, "INFO+2 custom"},
		{"pino labels", `{"level":"warn","time":"2026-11-30T18:51:21.059Z","msg":"iso"}`, "WARN iso"},
		{"pino with a level as text", `{"level":"40","msg":"x"}`, "WARN x"},
		{"a severity as text", `{"severity":"500","message":"x"}`, "ERROR x"},
		{"text that is not a number of a level", `{"level":"7","msg":"x"}`, "INFO x | fields.level=7"},
		{
			"bunyan", `{"name":"app","hostname":"vm","pid":29218,"level":60,"msg":"x","time":"2026-11-30T18:51:21.079Z","v":0}`,
			"ERROR+4 x | name=app | hostname=vm | fields.pid=Int64(29218) | v=Int64(0)",
		},
		{"number that is no level", `{"level":7,"msg":"up"}`, "INFO up | fields.level=Int64(7)"},
		{"number that is too high", `{"level":61,"msg":"up"}`, "INFO up | fields.level=Int64(61)"},
		{"number with a fraction", `{"level":30.5,"msg":"up"}`, "INFO up | fields.level=Float64(30.5)"},
		{"pino-pretty", `[18:51:21.069] WARN (29218): low disk`, "WARN (29218): low disk"},
		{"pino-pretty in colour", "[18:51:21.072] \x1b[33mWARN\x1b[39m (29218): \x1b[36mlow disk\x1b[39m \x1b[90m{\"free\":3}\x1b[39m", `WARN (29218): low disk {"free":3}`},
		{"winston", `{"free":3,"level":"warn","message":"low disk","timestamp":"2026-11-30T18:51:21.101Z"}`, "WARN low disk | free=Int64(3)"},
		{"winston verbose", `{"level":"verbose","message":"v"}`, "DEBUG v"},
		{"winston silly", `{"level":"silly","message":"v"}`, "DEBUG-4 v"},
		{"winston logstash", `{"@fields":{"free":3,"level":"warn"},"@message":"low disk"}`, "WARN low disk | free=Int64(3)"},
		{"winston ECS", `{"@timestamp":"2026-11-30T18:51:21.102Z","ecs.version":"8.10.0","log.level":"error","message":"low disk"}`, "ERROR low disk | ecs.version=8.10.0"},

		// JSON, clouds and standards.
		{"Google Cloud", `{"severity":"WARNING","timestamp":{"seconds":1770091506,"nanos":123000000},"message":"low disk"}`, "WARN low disk"},
		{"Google Cloud default", `{"severity":"DEFAULT","message":"x"}`, "INFO x"},
		{"Google Cloud notice", `{"severity":"NOTICE","message":"x"}`, "INFO+2 x"},
		{"Google Cloud critical", `{"severity":"CRITICAL","message":"x"}`, "ERROR+4 x"},
		{"Google Cloud alert", `{"severity":"ALERT","message":"x"}`, "ERROR+4 x"},
		{"Google Cloud emergency", `{"severity":"EMERGENCY","message":"x"}`, "ERROR+4 x"},
		{"Google Cloud by number", `{"severity":400,"message":"x"}`, "WARN x"},
		{"severity that is none", `{"severity":450,"message":"x"}`, "INFO x | severity=Int64(450)"},
		{"OpenTelemetry", `{"Timestamp":"1770091506123456789","SeverityText":"WARN","SeverityNumber":13,"Body":"low disk"}`, "WARN low disk | SeverityNumber=Int64(13)"},
		{"OpenTelemetry by number", `{"severityNumber":17,"body":"low disk"}`, "ERROR low disk"},
		{"GELF", `{"version":"1.1","host":"vm","short_message":"low disk","timestamp":1770091506.123,"level":4,"_free":3}`, "WARN low disk | version=1.1 | host=vm | _free=Int64(3)"},
		{"ECS", `{"@timestamp":"2026-11-30T18:51:17.031Z","log.level":"warning","message":"low disk","log":{"logger":"my.app"}}`, "WARN low disk | log={logger=my.app}"},

		// JSON, Python.
		{
			"python-json-logger", `{"asctime": "2026-11-30 18:51:16,986", "levelname": "WARNING", "name": "my.app", "message": "low disk", "free": 3}`,
			"WARN low disk | name=my.app | free=Int64(3)",
		},
		{"python-json-logger critical", `{"levelname": "CRITICAL", "message": "gone"}`, "ERROR+4 gone"},
		{"python-json-logger by number", `{"levelno": 30, "message": "low disk"}`, "WARN low disk"},
		{"python-json-logger critical by number", `{"levelno": 50, "message": "gone"}`, "ERROR+4 gone"},
		{"structlog", `{"free": 3, "event": "low disk", "level": "warning", "timestamp": "2026-11-30T18:51:17.009647Z"}`, "WARN low disk | free=Int64(3)"},
		{
			"loguru", `{"text": "low disk\n", "record": {"extra": {}, "function": "f", "level": {"icon": "x", "name": "WARNING", "no": 30}, "message": "low disk", "time": {"repr": "2026-11-30 18:51:17.025415+00:00", "timestamp": 1796064677.025415}}}`,
			"WARN low disk | text=low disk\n | extra=logs.rawJSON({}) | function=f",
		},
		{"loguru success", `{"text": "", "record": {"level": {"name": "SUCCESS", "no": 25}, "message": "done"}}`, "INFO+2 done | text="},

		// JSON, Go.
		{
			"zap in development", `{"L":"WARN","T":"2026-11-30T18:51:31.993Z","N":"a.b","C":"gen/main.go:31","M":"low disk","free":3,"S":"main.main\n\t/x.go:31"}`,
			"WARN low disk | N=a.b | C=gen/main.go:31 | free=Int64(3) | S=main.main\n\t/x.go:31",
		},
		{"letters that are no log line", `{"M":"x"}`, `INFO {"M":"x"} | stream=stderr`},
		{"an event that is no log line", `{"event":"x"}`, `INFO {"event":"x"} | stream=stderr`},
		{"log15", `{"free":3,"lvl":"crit","msg":"low disk","t":"2026-11-30T18:51:31.99384204Z"}`, "ERROR+4 low disk | free=Int64(3)"},
		{"logrus", `{"error":"x y","level":"error","msg":"low disk","time":"2026-11-30T18:51:31Z"}`, "ERROR low disk | error=x y"},
		{"charm", `{"time":"2026/11/30 18:51:31","level":"error","msg":"low disk","free":3}`, "ERROR low disk | free=Int64(3)"},
		{"klog", `{"ts":1770091506123.4,"caller":"x/y.go:3","msg":"low disk","v":0}`, "INFO low disk | caller=x/y.go:3 | v=Int64(0)"},

		// JSON, Rust, Java, .NET, PHP.
		{
			"tracing", `{"timestamp":"2026-02-03T04:05:06.123456Z","level":"WARN","fields":{"message":"low disk","free":3},"target":"my_crate","span":{"name":"s"}}`,
			"WARN low disk | free=Int64(3) | target=my_crate | span={name=s}",
		},
		{"tracing flattened", `{"timestamp":"2026-02-03T04:05:06.123456Z","level":"ERROR","message":"low disk","target":"my_crate"}`, "ERROR low disk | target=my_crate"},
		{"fields of a user", `{"level":"info","msg":"x","fields":{"message":"y"}}`, "INFO x | fields={message=y}"},
		{
			"log4j", `{"instant":{"epochSecond":1770091506,"nanoOfSecond":123000000},"thread":"main","level":"WARN","loggerName":"Hello","message":"low disk","endOfBatch":false,"threadId":1}`,
			"WARN low disk | thread=main | loggerName=Hello | endOfBatch=Bool(false) | threadId=Int64(1)",
		},
		{"colour in a level", `{"level":"\u001b[33mwarn\u001b[39m","message":"low disk"}`, "WARN low disk"},
		{"log4j compact", `{"timeMillis":1770091506123,"thread":"main","level":"FATAL","message":"low disk"}`, "ERROR+4 low disk | thread=main"},
		{"logstash for logback", `{"@timestamp":"2026-02-03T04:05:06.123+01:00","@version":"1","message":"low disk","logger_name":"a.B","level":"WARN","level_value":30000}`, "WARN low disk | @version=1 | logger_name=a.B | level_value=Int64(30000)"},
		{"Serilog compact", `{"@t":"2026-02-03T04:05:06.1234567Z","@mt":"Low {Disk}","@l":"Warning","Disk":"sda"}`, "WARN Low {Disk} | Disk=sda"},
		{"Serilog compact at info", `{"@t":"2026-02-03T04:05:06.1234567Z","@m":"Low sda","@i":"1f2e"}`, "INFO Low sda | @i=1f2e"},
		{"Serilog compact verbose", `{"@t":"2026-02-03T04:05:06.1234567Z","@mt":"x","@l":"Verbose"}`, "DEBUG-4 x"},
		{"Serilog compact fatal", `{"@t":"2026-02-03T04:05:06.1234567Z","@mt":"x","@l":"Fatal"}`, "ERROR+4 x"},
		{"Serilog", `{"Timestamp":"2026-02-03T04:05:06.1234567+01:00","Level":"Warning","MessageTemplate":"Low","Properties":{"Disk":"sda"}}`, "WARN Low | Properties={Disk=sda}"},
		{
			".NET", `{"EventId":10,"LogLevel":"Warning","Category":"My.App","Message":"low disk","State":{"free":3}}`,
			"WARN low disk | EventId=Int64(10) | Category=My.App | State={free=Int64(3)}",
		},
		{"Monolog", `{"message":"low disk","context":{},"level":300,"level_name":"WARNING","channel":"app","datetime":"2026-02-03T04:05:06.123456+00:00"}`, "WARN low disk | context=logs.rawJSON({}) | fields.level=Int64(300) | channel=app"},

		// A reader such as encoding/json may take these keys for those of the record.
		{
			"keys in another case", `{"level":"info","msg":"x","Level":"error","PLUGIN":"other","Pid":1,"meſſage":"y"}`,
			"INFO x | fields.Level=error | fields.PLUGIN=other | fields.Pid=Int64(1) | fields.meſſage=y",
		},

		// Key=value.
		{"logfmter", `at=WARNING msg="low disk" free=3`, "WARN low disk | free=3"},
		{"at that is no level", `at=home msg=x level=info`, "INFO x | at=home"},
		{"logrus text", `time="2026-11-30T18:51:31Z" level=warning msg="low disk" free=3`, "WARN low disk | free=3"},
		{"logrus text without time", `level=error msg="low disk" error="x y"`, "ERROR low disk | error=x y"},
		{"logrus text with another time", `time="2026-11-30 18:51:31" level=fatal msg="low disk"`, "ERROR+4 low disk"},
		{"log15 text", `t=2026-11-30T18:51:31+0000 lvl=eror msg="low disk" free=3`, "ERROR low disk | free=3"},
		{"go-kit", `level=warn ts=2026-11-30T18:51:31.993999104Z caller=main.go:60 msg="low disk" free=3`, "WARN low disk | caller=main.go:60 | free=3"},
		{"go-kit with the caller first", `caller=main.go:60 ts=2026-11-30T18:51:31.99Z level=warn msg="low disk"`, "WARN low disk | caller=main.go:60"},
		{"go-kit without message", `level=error ts=2026-11-30T18:51:31.994005314Z caller=main.go:61 err="low disk"`, "ERROR  | caller=main.go:61 | err=low disk"},
		{"structlog text", `free=3 event="low disk" level=warning timestamp=2026-11-30T18:51:17.009864Z`, "WARN low disk | free=3"},
		{"pairs that are no log line", `a=1 b=2`, "INFO a=1 b=2 | stream=stderr"},
		{"two levels", `level=info level=error msg=x msg=y plugin=other`, "INFO x | fields.level=error | fields.msg=y | fields.plugin=other"},

		// Text, Go.
		{"klog", `I1130 18:51:31.993735   29441 main.go:43] low disk`, "INFO low disk | thread=29441 | caller=main.go:43"},
		{"klog warning", `W1130 18:51:31.993735       1 main.go:43] low disk`, "WARN low disk | thread=1 | caller=main.go:43"},
		{"klog structured", `E1130 18:51:31.993757   29441 main.go:43] "low disk" err="boom" pod="a b"`, "ERROR low disk | err=boom | pod=a b | thread=29441 | caller=main.go:43"},
		{"klog quoted text", `E1130 18:51:31.993757   29441 main.go:43] "low" disk`, `ERROR "low" disk | thread=29441 | caller=main.go:43`},
		{"klog fatal", `F1130 18:51:31.993757   29441 main.go:43] gone`, "ERROR+4 gone | thread=29441 | caller=main.go:43"},
		{"glog", `W20260203 04:05:06.123456 12345 main.cc:43] low disk`, "WARN low disk | thread=12345 | caller=main.cc:43"},
		{"Abseil before it is initialized", `I0000 00:00:1770091506.123456   12345 fork.cc:77] low disk`, "INFO low disk | thread=12345 | caller=fork.cc:77"},
		{"no glog", `E2E tests passed`, "INFO E2E tests passed | stream=stderr"},
		{"no glog either", `I1130 18:51:31.993735 nothing`, "INFO I1130 18:51:31.993735 nothing | stream=stderr"},
		{"zap text", "2026-11-30T18:51:31.993Z\tWARN\tgen/main.go:29\tlow disk\t{\"free\": 3, \"level\": 1}", "WARN low disk | caller=gen/main.go:29 | free=Int64(3) | fields.level=Int64(1)"},
		{"zap text with a name", "2026-11-30T18:51:31.993Z\tINFO\ta.b\tgen/main.go:29\thi", "INFO hi | logger=a.b | caller=gen/main.go:29"},
		{"zap text in colour", "2026-11-30T18:51:31.993Z\t\x1b[33mWARN\x1b[0m\tgen/main.go:32\tlow disk", "WARN low disk | caller=gen/main.go:32"},
		{"zap text in production", "1.7960646919936292e+09\twarn\tgen/main.go:34\tlow disk\t{\"free\": 3}", "WARN low disk | caller=gen/main.go:34 | free=Int64(3)"},
		{"zap text without time", "ERROR\tgen/main.go:34\tlow disk", "ERROR low disk | caller=gen/main.go:34"},
		{"logrus in colour", "\x1b[33mWARN\x1b[0m[0000] low disk    \x1b[33mfree\x1b[0m=3", "WARN low disk    free=3"},
		{"logrus in colour with time", "\x1b[31mERRO\x1b[0m[2026-11-30T18:51:31Z] low disk", "ERROR low disk"},
		{"log15 in colour", "\x1b[31mEROR\x1b[0m[11-30|18:51:31] low disk     \x1b[31mfree\x1b[0m=3", "ERROR low disk     free=3"},
		{"go-ethereum", "WARN [11-30|18:51:31.123] low disk     free=3", "WARN low disk     free=3"},
		{"apex", "\x1b[33m  WARN\x1b[0m[0000] low disk    \x1b[33mfree\x1b[0m=3", "WARN low disk    free=3"},
		{"charm text", "WARN low disk free=3", "WARN low disk free=3"},
		{"charm text with time", "2026/11/30 18:51:31 ERRO low disk free=3", "ERROR low disk free=3"},
		{"zerolog console", "\x1b[90m6:51PM\x1b[0m \x1b[33mWRN\x1b[0m \x1b[1mlow disk\x1b[0m \x1b[36mfree=\x1b[0m3", "WARN low disk free=3"},
		{"zerolog console without colour", "6:51PM ERR main.go:66 > low disk free=3", "ERROR main.go:66 > low disk free=3"},
		{"slog without a handler", "2026/11/30 18:51:31 WARN low disk free=3", "WARN low disk free=3"},
		{"slog without a handler, a level between", "2026/11/30 18:51:31 INFO+2 low disk", "INFO+2 low disk"},

		// Text, Python.
		{"logging", "WARNING:my.app:low disk", "WARN low disk | logger=my.app"},
		{"logging critical", "CRITICAL:root:gone: now", "ERROR+4 gone: now | logger=root"},
		{"logging with time and name", "2026-11-30 18:51:16,973 - my.app - WARNING - low disk", "WARN my.app - low disk"},
		{"logging with time", "2026-11-30 18:51:16,973 WARNING low disk", "WARN low disk"},
		{"logging padded", "2026-11-30 18:51:16,973 WARNING  my.app low disk", "WARN my.app low disk"},
		{"logging with level and name", "2026-11-30 18:51:16,973 - ERROR - low disk", "ERROR low disk"},
		{"Flask", "[2026-11-30 18:51:16,973] WARNING in gen: low disk", "WARN in gen: low disk"},
		{"logging in brackets", "2026-11-30 18:51:16,973 [CRITICAL] my.app: gone", "ERROR+4 my.app: gone"},
		{"gunicorn", "[2026-11-30 18:51:16 +0000] [29218] [ERROR] gone", "ERROR [29218] gone"},
		{"Celery", "[2026-11-30 18:51:16,973: WARNING/MainProcess] low disk", "WARN low disk | target=MainProcess"},
		{"uvicorn", "INFO:     Started server process [29218]", "INFO Started server process [29218]"},
		{"structlog console", "2026-11-30 18:51:17 [warning  ] low disk                       free=3", "WARN low disk                       free=3"},
		{
			"structlog console in colour",
			"\x1b[2m2026-11-30 18:51:17\x1b[0m [\x1b[33m\x1b[1mwarning  \x1b[0m] \x1b[1mlow disk\x1b[0m \x1b[36mfree\x1b[0m=\x1b[35m3\x1b[0m",
			"WARN low disk free=3",
		},
		{"loguru text", "2026-11-30 18:51:17.028 | SUCCESS  | __main__:<module>:32 - done", "INFO+2 __main__:<module>:32 - done"},
		{
			"loguru text in colour",
			"\x1b[32m2026-11-30 18:51:17.030\x1b[0m | \x1b[33m\x1b[1mWARNING \x1b[0m | \x1b[36m__main__\x1b[0m:\x1b[36mf\x1b[0m - \x1b[33m\x1b[1mlow disk\x1b[0m",
			"WARN __main__:f - low disk",
		},

		{"logging with time and name, the default of many", "2026-11-30 18:51:16,973 my.app WARNING low disk", "WARN my.app low disk"},
		{"logging with colons", "2026-11-30 18:51:16,973:WARNING:my.app:low disk", "WARN my.app:low disk"},
		{"logging with a hyphen", "DEBUG - low disk", "DEBUG low disk"},
		{"rich", "DEBUG    low disk                         app.py:38", "DEBUG low disk                         app.py:38"},
		{"colorlog", "\x1b[37mDEBUG   \x1b[0m \x1b[34mlow disk\x1b[0m", "DEBUG low disk"},

		// Text, Node.js.
		{"winston simple", `warn: low disk {"free":3}`, `WARN low disk {"free":3}`},
		{"winston cli", "\x1b[31merror\x1b[39m:   low disk", "ERROR low disk"},
		{"winston with time", "2026-11-30T18:51:22.661Z warn: low disk", "WARN low disk"},
		{"winston with time in brackets", "[2026-11-30T18:51:22.662Z] debug: low disk", "DEBUG low disk"},
		{"winston in upper case", "2026-11-30T18:51:22.662Z [WARN]: low disk", "WARN low disk"},
		{"git", "fatal: not a git repository", "ERROR+4 not a git repository"},

		{"Tornado", "[W 260203 04:05:06 web:2162] low disk", "WARN low disk | target=web:2162"},
		{"Jupyter", "[E 2026-02-03 04:05:06.123 ServerApp] low disk", "ERROR low disk | target=ServerApp"},

		// Text, Rust.
		{"old env_logger", "DEBUG 2026-02-03T04:05:06Z: my_crate: low disk", "DEBUG my_crate: low disk"},
		{"env_logger", "[2026-02-03T04:05:06Z WARN  my_crate] low disk", "WARN low disk | target=my_crate"},
		{"env_logger with milliseconds", "[2026-02-03T04:05:06.123Z ERROR my_crate::inner] low disk", "ERROR low disk | target=my_crate::inner"},
		{"env_logger trace", "[2026-02-03T04:05:06Z TRACE my_crate] x", "DEBUG-4 x | target=my_crate"},
		{"env_logger without time", "[WARN  my_crate] low disk", "WARN low disk | target=my_crate"},
		{"env_logger without target", "[2026-02-03T04:05:06Z DEBUG] low disk", "DEBUG low disk"},
		{"tracing text", "2026-02-03T04:05:06.123456Z  WARN my_crate::mod: low disk free=3", "WARN my_crate::mod: low disk free=3"},
		{
			"tracing text in colour",
			"\x1b[2m2026-02-03T04:05:06.123456Z\x1b[0m \x1b[33m WARN\x1b[0m \x1b[2mmy_crate\x1b[0m\x1b[2m:\x1b[0m low disk \x1b[3mfree\x1b[0m\x1b[2m=\x1b[0m3",
			"WARN my_crate: low disk free=3",
		},
		{"tracing text without time", " WARN my_crate: low disk", "WARN my_crate: low disk"},
		{"tracing for people", "  2026-02-03T04:05:06.123456Z  WARN my_crate: low disk, free: 3", "WARN my_crate: low disk, free: 3"},
		{"simplelog", "04:05:06 [ERROR] my_crate: low disk", "ERROR my_crate: low disk"},
		{"flexi_logger", "[2026-02-03 04:05:06.123456 +01:00] WARN [my_crate] low disk", "WARN [my_crate] low disk"},
		{"slog-term", "Feb 03 04:05:06.123 WARN low disk, free: 3", "WARN low disk, free: 3"},

		// Text, others.
		{"NLog", "2026-02-03 04:05:06.1234|WARN|My.App|low disk", "WARN My.App|low disk"},
		{"log4net", "2026-02-03 04:05:06,123 [1] WARN  My.App - low disk", "WARN [1] My.App - low disk"},
		{"beego", "2026/02/03 04:05:06.123 [W] [file.go:12]  low disk", "WARN [file.go:12]  low disk"},
		{"Dropwizard", "INFO  [2026-02-03 04:05:06,123] com.example.Foo: low disk", "INFO com.example.Foo: low disk"},
		{"logback", "04:05:06.123 [main] WARN  com.example.Foo - low disk", "WARN [main] com.example.Foo - low disk"},
		{"Spring Boot", "2026-02-03T04:05:06.123+01:00  WARN 12345 --- [main] c.e.Foo : low disk", "WARN 12345 --- [main] c.e.Foo : low disk"},
		{"java.util.logging", "SEVERE: low disk", "ERROR low disk"},
		{"java.util.logging in German", "WARNUNG: low disk", "WARN low disk"},
		{"java.util.logging in German, severe", "SCHWERWIEGEND: low disk", "ERROR low disk"},
		{"Quarkus", "2026-02-03 04:05:06,123 INFO  [io.quarkus] (main) started", "INFO [io.quarkus] (main) started"},
		{"Serilog console", "[04:05:06 WRN] low disk", "WARN low disk"},
		{".NET console", "fail: My.App.Worker[10] low disk", "ERROR My.App.Worker[10] low disk"},
		{".NET console, two lines", "info: Microsoft.Hosting.Lifetime[0]", "INFO Microsoft.Hosting.Lifetime[0]"},
		{".NET for systemd", "<4>My.App.Worker[10] low disk", "WARN My.App.Worker[10] low disk"},
		{"spdlog", "[2026-02-03 04:05:06.123] [my_logger] [warning] low disk", "WARN [my_logger] low disk"},
		{"Ruby", "W, [2026-02-03T04:05:06.123456 #12345]  WARN -- worker: low disk", "WARN worker: low disk"},
		{"Ruby without a name", "E, [2026-02-03T04:05:06.123456 #12345] ERROR -- : low disk", "ERROR low disk"},
		{"nginx", "2026/02/03 04:05:06 [crit] 123#0: low disk", "ERROR+4 123#0: low disk"},
		{"Elixir", "04:05:06.123 [warning] low disk", "WARN low disk"},
		{"Postgres", "2026-02-03 04:05:06.123 UTC [123] ERROR:  low disk", "ERROR [123] low disk"},
		{"syslog", "<3>low disk", "ERROR low disk"},
		{"syslog debug", "<7>low disk", "DEBUG low disk"},
		{"syslog emergency", "<0>low disk", "ERROR+4 low disk"},
		{"syslog with a facility", "<165>1 2026-02-03T04:05:06.003Z vm app 12 ID1 - low disk", "INFO+2 1 2026-02-03T04:05:06.003Z vm app 12 ID1 - low disk"},
		{"no syslog", "<192>low disk", "INFO <192>low disk | stream=stderr"},
		{"no syslog either", "<04>low disk", "INFO <04>low disk | stream=stderr"},

		// These lines only look like a logger's.
		{"a word and a colon", "DONE: x", "INFO DONE: x | stream=stderr"},
		{"a word of a sentence", "DEBUG mode is on", "INFO DEBUG mode is on | stream=stderr"},
		{"a method", "2026/02/03 04:05:06 GET /x", "INFO 2026/02/03 04:05:06 GET /x | stream=stderr"},
		{"a level in lower case", "2026/02/03 04:05:06 error opening x", "INFO 2026/02/03 04:05:06 error opening x | stream=stderr"},
		{"a date that does not exist", "2026-02-30 04:05:06 WARN x", "INFO 2026-02-30 04:05:06 WARN x | stream=stderr"},
		{"a word before a level", "2026/02/03 04:05:06 received ERROR", "INFO 2026/02/03 04:05:06 received ERROR | stream=stderr"},
		{"a level in lower case without a blank", "error:x", "INFO error:x | stream=stderr"},
		{"a level in lower case that is a word", "http: listening", "INFO http: listening | stream=stderr"},
		{"a heading", "CONFIG: /etc/x", "INFO CONFIG: /etc/x | stream=stderr"},
		{"another heading", "HTTP: listening", "INFO HTTP: listening | stream=stderr"},
		{"a word in brackets", "WARN[x] y", "INFO WARN[x] y | stream=stderr"},
		{"a tag", "[http] listening", "INFO [http] listening | stream=stderr"},
		{"a path", "ERROR:/etc/x:12: bad", "INFO ERROR:/etc/x:12: bad | stream=stderr"},
		{"colours in plain text", "\x1b[31mred", `INFO "\x1b[31mred" | stream=stderr`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, rec := collect(t, strings.NewReader(test.line+"\n"))
			if diff := cmp.Diff([]string{test.want}, rec.shown()); diff != "" {
				t.Errorf("record of %s (-want +got):\n%s", test.line, diff)
			}
			// The parser ignores the other parts of a line whose level is not
			// enabled.
			rec = &recorder{level: logs.LevelFatal + 1}
			if err := newCollector(rec).Run(strings.NewReader(test.line + "\n")); err != nil || rec.shown() != nil {
				t.Errorf("with no level enabled: %v, %q", err, rec.shown())
			}
		})
	}
}

// TestStamps checks the times of lines. A line without a year, or without a
// date, has the time that is nearest to now.
func TestStamps(t *testing.T) {
	now := time.Now()
	today := time.Date(now.Year(), now.Month(), now.Day(), now.Hour(), now.Minute(), now.Second(), 123e6, time.Local)
	local := time.Date(2026, 2, 3, 4, 5, 6, 123e6, time.Local)
	utc := time.Date(2026, 2, 3, 4, 5, 6, 123e6, time.UTC)
	for line, want := range map[string]time.Time{
		`{"severity":"INFO","timestamp":{"seconds":1770091506,"nanos":123000000},"message":"x"}`:       utc,
		`{"level":"INFO","instant":{"epochSecond":1770091506,"nanoOfSecond":123000000},"message":"x"}`: utc,
		`{"level":"INFO","timeMillis":1770091506123,"message":"x"}`:                                    utc,
		`{"levelname":"INFO","asctime":"2026-02-03 04:05:06,123","message":"x"}`:                       local,
		`{"Timestamp":"1770091506123000000","SeverityText":"INFO","Body":"x"}`:                         utc,
		`{"record":{"level":{"name":"INFO"},"message":"x","time":{"timestamp":1770091506.123}}}`:       utc,
		`{"@t":"2026-02-03T05:05:06.123+01:00","@mt":"x"}`:                                             utc,
		`{"L":"INFO","T":"2026-02-03T04:05:06.123Z","M":"x"}`:                                          utc,
		`t=2026-02-03T04:05:06.123+0000 lvl=info msg=x`:                                                utc,
		"I20260203 04:05:06.123000 1 x.go:1] x":                                                        local,
		"I0000 00:00:1770091506.123000 1 x.go:1] x":                                                    utc,
		today.Format("I0102 15:04:05.000000") + " 1 x.go:1] x":                                         today,
		today.Format("15:04:05.000") + " [INFO] x":                                                     today,
		today.Format("Jan _2 15:04:05.000") + " INFO x":                                                today,
		today.Format("INFO [01-02|15:04:05.000]") + " x":                                               today,
		"[2026-02-03T04:05:06.123Z INFO  x] x":                                                         utc,
		"[2026-02-03 05:05:06.123 +01:00] INFO x":                                                      utc,
		"[2026-02-03 03:05:06.123 -0100] [INFO] x":                                                     utc,
		"2026-02-03 04:05:06.123 UTC [1] ERROR: x":                                                     utc,
		"2026-02-03 04:05:06,123 INFO x":                                                               local,
		"2026/02/03 04:05:06.123 INFO x":                                                               local,
		"1.770091506123e+09\tinfo\tx":                                                                  utc,
		"W, [2026-02-03T04:05:06.123000 #12345]  WARN -- : x":                                          local,
		"<14>1 2026-02-03T04:05:06.123Z vm app - - - x":                                                utc,
		"INFO[2026-02-03T04:05:06.123Z] x":                                                             utc,
	} {
		_, rec := collect(t, strings.NewReader(line))
		if got := rec.all()[0].Time; !got.Equal(want) || rec.all()[0].NumAttrs() > 2 {
			t.Errorf("time of %s is %v, want %v; record %q", line, got, want, rec.shown())
		}
	}
}
