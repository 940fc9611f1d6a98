/* SPDX-License-Identifier: Apache-2.0 */
/* pra serve: a storage behind HTTP until a signal ends it. */
#include "cli.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "server/log.h"
#include "server/signals.h"
#include "server/web_config.h"

enum { MOST_WORKERS = 1024 };

struct settings {
    const char *storage, *tenant_header, *log_level, *log_format;
    const char *web_config, *bearer_tokens; /* NULL = none */
    uint64_t retention_ms, exemplar_retention_ms;
    cli_list listen;
    uint64_t max_connections, workers, idle_timeout_ms, read_timeout_ms, grace_ms;
    uint64_t body_size, decoded_size, request_memory, pending_memory;
    uint64_t labels, name_length, value_length, read_samples, response_size;
    uint64_t read_queries, read_matchers, pattern_length, pattern_memory;
    uint64_t concurrent_reads, frame_size, read_delay_ms, read_max_age_ms;
    uint64_t lua_max_memory, lua_max_instructions;
    cli_list messages, external_labels, ignored_labels;
    int strict;
    uint32_t accepted_messages;            /* bits, from messages */
    pra_label labels_parsed[CLI_LIST_MAX]; /* from external_labels */
    cli_script *script;                    /* NULL = none */
    cli_log log;
};

/* "io.prometheus.write.v2.Request,prometheus.WriteRequest", as in Prometheus. */
static int parse_messages(struct settings *v)
{
    static const struct {
        const char *name;
        uint32_t bit;
    } known[] = {{"prometheus.WriteRequest", 1u << PRA_WRITE_V1},
                 {"io.prometheus.write.v2.Request", 1u << PRA_WRITE_V2}};
    for (size_t i = 0; i < v->messages.count; i++) {
        const char *text = v->messages.items[i];
        for (size_t len; (len = strcspn(text, ",")) > 0; text += len + (text[len] == ',')) {
            size_t k = 0;
            while (k < 2 && (strlen(known[k].name) != len || memcmp(known[k].name, text, len) != 0))
                k++;
            if (k == 2)
                return 0;
            v->accepted_messages |= known[k].bit;
        }
    }
    return 1;
}

/* NAME=VALUE each. */
static int parse_external_labels(struct settings *v)
{
    for (size_t i = 0; i < v->external_labels.count; i++) {
        const char *text = v->external_labels.items[i], *equals = strchr(text, '=');
        if (!equals || equals == text || !equals[1])
            return 0;
        v->labels_parsed[i] =
            (pra_label){{text, (size_t)(equals - text)}, {equals + 1, strlen(equals + 1)}};
    }
    return 1;
}

static int check(struct settings *v)
{
    const char *wrong = NULL;
    pra_error err = {0};
    if (!cli_log_init(&v->log, v->log_level, v->log_format))
        wrong = "--log.level is debug, info, warn or error, --log.format is logfmt or json";
    else if (v->workers == 0 || v->workers > MOST_WORKERS)
        wrong = "--web.workers is a number from 1 to 1024";
    else if (v->max_connections == 0)
        wrong = "--web.max-connections is at least 1";
    else if (!parse_messages(v))
        wrong = "--web.remote-write-receiver.accepted-protobuf-messages is prometheus.WriteRequest "
                "or io.prometheus.write.v2.Request";
    else if (!parse_external_labels(v))
        wrong = "--external-label is NAME=VALUE, e.g. --external-label=region=eu";
    else if (pra__door_check(v->web_config, v->bearer_tokens, &err))
        wrong = err.message;
    if (wrong)
        (void)fprintf(stderr, "pra serve: %s\n", wrong);
    return !wrong;
}

static int parse(struct settings *v, int argc, char **argv)
{
    const cli_flag flags[] = {
        {"Storage", 0, NULL, NULL, NULL},
        {"storage", CLI_TEXT, &v->storage, "sqlite:./prom.db",
         "Where samples are kept: memory, sqlite:PATH (created if absent), or lua:SCRIPT."},
        {"storage.retention", CLI_DURATION, &v->retention_ms, "0",
         "Delete samples older than this, e.g. 90d. 0 keeps everything."},
        {"storage.exemplar-retention", CLI_DURATION, &v->exemplar_retention_ms, "1d",
         "The same for exemplars. 0 keeps them as long as samples."},
        {"tenant.header", CLI_TEXT, &v->tenant_header, "X-Scope-OrgID",
         "Header that names the tenant. Empty: everyone shares one store."},
        {"strict", CLI_SWITCH, &v->strict, "false",
         "Refuse what Prometheus' sender never sends and is mended silently otherwise: unsorted or "
         "empty labels, series with exemplars only, samples and histograms in one series."},
        {"Reads", 0, NULL, NULL, NULL},
        {"storage.remote.read-concurrent-limit", CLI_NUMBER, &v->concurrent_reads, "10",
         "Most reads at one time; further ones wait 30s, then get 503. 0 = no limit."},
        {"storage.remote.read-sample-limit", CLI_NUMBER, &v->read_samples, "5e7",
         "Samples in one sampled answer. 0 = no limit. Streamed answers have none."},
        {"storage.remote.read-max-bytes-in-frame", CLI_SIZE, &v->frame_size, "1MiB",
         "Labels and chunks in one frame of a streamed answer."},
        {"external-label", CLI_LIST, &v->external_labels, NULL,
         "NAME=VALUE that stands for this storage: added to every series of an answer; can be "
         "repeated."},
        {"read.ignore-label", CLI_LIST, &v->ignored_labels, NULL,
         "Leave matchers on this label out of queries; can be repeated."},
        {"read.delay", CLI_DURATION, &v->read_delay_ms, "0",
         "Do not return what is younger than this. 0 = off."},
        {"read.max-age", CLI_DURATION, &v->read_max_age_ms, "0",
         "Do not return what is older than this. 0 = off."},
        {"Web", 0, NULL, NULL, NULL},
        {"web.listen-address", CLI_LIST, &v->listen, "127.0.0.1:9201",
         "HOST:PORT to listen on; can be repeated. Port 0 takes any free one, :9201 every "
         "address."},
        {"web.config.file", CLI_TEXT, &v->web_config, NULL,
         "TLS, passwords (basic_auth_users), client certificates: a file in Prometheus' own "
         "format. Read again when it or a certificate changes."},
        {"web.bearer-token-file", CLI_TEXT, &v->bearer_tokens, NULL,
         "Tokens that clients may show instead of a password: one per line, with a name before it "
         "if wanted. Read again when it changes."},
        {"web.remote-write-receiver.accepted-protobuf-messages", CLI_LIST, &v->messages,
         "prometheus.WriteRequest,io.prometheus.write.v2.Request",
         "Remote write messages to take, 1.0 and 2.0; the other is answered with 415. Can be "
         "repeated."},
        {"web.max-connections", CLI_NUMBER, &v->max_connections, "4096",
         "Most connections at one time per listen address; for one more the longest idle one is "
         "closed."},
        {"web.workers", CLI_NUMBER, &v->workers, "8",
         "Most requests in the storage at one time; further ones wait."},
        {"web.idle-timeout", CLI_DURATION, &v->idle_timeout_ms, "6m",
         "Close connections without a request for this long. Prometheus closes its own after 5m."},
        {"web.read-timeout", CLI_DURATION, &v->read_timeout_ms, "1m",
         "Longest time a request's body may take to arrive. 0 = no limit, here and for the idle "
         "timeout."},
        {"shutdown-grace", CLI_DURATION, &v->grace_ms, "30s",
         "On SIGTERM, how long requests in flight may take before they are cut off."},
        {"Limits (0 = off)", 0, NULL, NULL, NULL},
        {"limit.body-size", CLI_SIZE, &v->body_size, "32MiB", "A request body as received."},
        {"limit.decoded-size", CLI_SIZE, &v->decoded_size, "32MiB",
         "A request body after decompression."},
        {"limit.request-memory", CLI_SIZE, &v->request_memory, "128MiB",
         "Memory that one request may need."},
        {"limit.pending-memory", CLI_SIZE, &v->pending_memory, "512MiB",
         "Bodies that wait for their end or a worker, together, and as much again for large "
         "answers that are being sent."},
        {"limit.labels-per-series", CLI_NUMBER, &v->labels, "1000", "Labels of one series."},
        {"limit.label-name-length", CLI_SIZE, &v->name_length, "64KiB", "A label's name."},
        {"limit.label-value-length", CLI_SIZE, &v->value_length, "1MiB", "A label's value."},
        {"limit.read-queries", CLI_NUMBER, &v->read_queries, "100", "Queries of one read."},
        {"limit.read-matchers", CLI_NUMBER, &v->read_matchers, "1000",
         "Label matchers of one read."},
        {"limit.pattern-length", CLI_SIZE, &v->pattern_length, "64KiB",
         "A regular expression of a read."},
        {"limit.pattern-memory", CLI_SIZE, &v->pattern_memory, "8MiB", "The same compiled."},
        {"limit.response-size", CLI_SIZE, &v->response_size, "256MiB",
         "An answer to a read before compression."},
        {"Scripts: --storage=lua:SCRIPT, run again on SIGHUP (0 = off)", 0, NULL, NULL, NULL},
        {"lua.max-memory", CLI_SIZE, &v->lua_max_memory, "0",
         "What one call of a script may add to the memory of its Lua state. Past it: 503."},
        {"lua.max-instructions", CLI_NUMBER, &v->lua_max_instructions, "0",
         "Instructions that one call of a script may take, e.g. 1e9. Past it: 503. To count them "
         "slows scripts down."},
        {"Log", 0, NULL, NULL, NULL},
        {"log.level", CLI_TEXT, &v->log_level, "info", "debug, info, warn or error."},
        {"log.format", CLI_TEXT, &v->log_format, "logfmt", "logfmt or json."},
    };
    const cli_usage usage = {
        .synopsis = "pra serve [FLAGS]",
        .about = "Takes remote write and answers remote read of Prometheus.",
        .flags = flags,
        .flag_count = sizeof(flags) / sizeof(flags[0]),
    };
    int rc = cli_parse(&usage, argc, argv, NULL);
    return rc == CLI_RUN && !check(v) ? CLI_WRONG : rc;
}

static uint64_t limit(uint64_t value)
{
    return value ? value : PRA_UNLIMITED;
}

static uint32_t fit(uint64_t value)
{
    return value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
}

/* A timeout that is switched off becomes one of 49 days. */
static uint32_t timeout(uint64_t ms)
{
    return ms ? fit(ms) : UINT32_MAX;
}

static int64_t wall_clock(void *ctx)
{
    (void)ctx;
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int make_handler(struct settings *v, pra_handler **out, pra_error *err)
{
    pra_storage storage;
    const cli_storage_opts open = {.address = v->storage,
                                   .retention_ms = v->retention_ms,
                                   .exemplar_retention_ms = limit(v->exemplar_retention_ms),
                                   .workers = fit(v->workers),
                                   .lua_max_memory = v->lua_max_memory,
                                   .lua_max_instructions = v->lua_max_instructions,
                                   .log = &v->log};
    int rc = cli_open_storage(&open, &storage, &v->script, err);
    if (rc)
        return rc;
    const pra_limits limits = {.size = sizeof(limits),
                               .max_body_bytes = limit(v->body_size),
                               .max_decoded_bytes = limit(v->decoded_size),
                               .max_memory_bytes = limit(v->request_memory),
                               .max_labels_per_series = limit(v->labels),
                               .max_label_name_bytes = limit(v->name_length),
                               .max_label_value_bytes = limit(v->value_length),
                               .max_queries = limit(v->read_queries),
                               .max_matchers = limit(v->read_matchers),
                               .max_pattern_bytes = limit(v->pattern_length),
                               .max_pattern_memory = limit(v->pattern_memory),
                               .max_read_samples = limit(v->read_samples),
                               .max_response_bytes = limit(v->response_size),
                               .max_frame_bytes = v->frame_size};
    const pra_handler_opts opts = {.size = sizeof(opts),
                                   .limits = &limits,
                                   .tenant_header_cstr = v->tenant_header,
                                   .executor = *pra_server_executor(),
                                   .accepted_messages = v->accepted_messages,
                                   .canonical_flags = v->strict ? PRA_CANONICAL_STRICT : 0,
                                   .external_labels = v->labels_parsed,
                                   .external_label_count = v->external_labels.count,
                                   .ignored_matchers_cstr = v->ignored_labels.items,
                                   .ignored_matcher_count = v->ignored_labels.count,
                                   .read_delay_ms = v->read_delay_ms,
                                   .read_max_age_ms = v->read_max_age_ms,
                                   .clock = {NULL, wall_clock}};
    return pra_handler_new(NULL, &storage, &opts, out, err);
}

static int make_server(struct settings *v, pra_handler *handler, pra_server **out, pra_error *err)
{
    const pra_server_opts opts = {.size = sizeof(opts),
                                  .listen_cstr = v->listen.items,
                                  .listen_count = v->listen.count,
                                  .max_connections = fit(v->max_connections),
                                  .workers = fit(v->workers),
                                  .idle_timeout_ms = timeout(v->idle_timeout_ms),
                                  .body_timeout_ms = timeout(v->read_timeout_ms),
                                  .max_pending_bytes = limit(v->pending_memory),
                                  .log = cli_log_sink(&v->log),
                                  .description_cstr = v->storage,
                                  .web_config_file_cstr = v->web_config,
                                  .bearer_token_file_cstr = v->bearer_tokens,
                                  .max_concurrent_reads =
                                      v->concurrent_reads ? fit(v->concurrent_reads) : UINT32_MAX};
    int rc = pra_server_new(NULL, handler, &opts, out, err);
    return rc ? rc : pra_server_start(*out, err);
}

/* ---- what the log says at the start */

static void announce(struct settings *v, const pra_server *server)
{
    pra_log sink = cli_log_sink(&v->log);
    char storage[512] = "";
    (void)pra__log_value(storage, sizeof(storage), 0, v->storage, strlen(v->storage));
    pra__log_write(&sink, PRA_LOG_INFO, "storage is open", "storage=%s version=%s", storage,
                   pra_version_cstr());
    for (size_t i = 0; i < v->listen.count; i++) {
        const char *address = v->listen.items[i];
        int host = (int)(strrchr(address, ':') - address);
        uint16_t port = pra_server_port(server, i);
        pra__log_write(&sink, PRA_LOG_INFO, "listening", "address=%.*s:%u", host, address, port);
    }
    const char *first = v->listen.items[0];
    int host = (int)(strrchr(first, ':') - first);
    char next[400];
    (void)snprintf(next, sizeof(next),
                   "open http%s://%.*s:%u/ for the lines to add to prometheus.yml",
                   pra_server_is_tls(server) ? "s" : "", host ? host : 9,
                   host ? first : "localhost", pra_server_port(server, 0));
    pra__log_write(&sink, PRA_LOG_INFO, next, NULL);
}

/* ---- running */

/* Signals reach this thread by sigwait alone; threads started from now on inherit the mask. */
static void block_signals(sigset_t *set)
{
    (void)sigemptyset(set);
    (void)sigaddset(set, SIGTERM);
    (void)sigaddset(set, SIGINT);
    (void)sigaddset(set, SIGHUP);
    (void)pthread_sigmask(SIG_BLOCK, set, NULL);
    (void)signal(SIGPIPE, SIG_IGN); /* a log reader that went away is no reason to stop */
}

/* A thread and a socket per connection need more files than many a shell allows. */
static void allow_files(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
}

static void run(struct settings *v, pra_server *server, const sigset_t *signals)
{
    pra_log sink = cli_log_sink(&v->log);
    int number;
    announce(v, server);
    while ((number = pra__signal_wait(signals)) == SIGHUP)
        cli_script_reload(v->script, &v->log);
    pra__log_write(&sink, PRA_LOG_INFO, "stopping", "signal=%s",
                   number == SIGTERM ? "SIGTERM" : "SIGINT");
    (void)signal(SIGTERM, SIG_DFL); /* a second signal ends the program at once */
    (void)signal(SIGINT, SIG_DFL);
    (void)signal(SIGHUP, SIG_IGN);
    (void)pthread_sigmask(SIG_UNBLOCK, signals, NULL);
    if (pra_server_stop(server, fit(v->grace_ms)) == PRA_DONE)
        pra__log_write(&sink, PRA_LOG_WARN,
                       "requests were cut off: they took longer than "
                       "--shutdown-grace",
                       NULL);
}

/* Large buffers go back to the system when they are freed. glibc by itself would raise its
 * threshold with the first of them and keep those that follow. */
static void give_back_memory(void)
{
#ifdef __GLIBC__
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 20);
#endif
}

int cli_serve(int argc, char **argv)
{
    struct settings v = {0};
    int rc = parse(&v, argc, argv);
    if (rc)
        return rc == CLI_HELP ? 0 : 2;

    sigset_t signals;
    pra_handler *handler = NULL;
    pra_server *server = NULL;
    pra_error err = {0};
    block_signals(&signals);
    allow_files();
    give_back_memory();
    rc = make_handler(&v, &handler, &err);
    if (!rc)
        rc = make_server(&v, handler, &server, &err);
    if (rc)
        cli_log_message(&v.log, PRA_LOG_ERROR, err.message[0] ? err.message : pra_strerror(rc));
    else
        run(&v, server, &signals);
    pra_server_free(server);
    pra_handler_free(handler);
    cli_script_free(v.script);
    if (!rc)
        cli_log_message(&v.log, PRA_LOG_INFO, "stopped");
    return rc ? 1 : 0;
}
