/* SPDX-License-Identifier: Apache-2.0 */
/* The server's door from within: who the storage is told, what a handshake may cost, and what many
 * wrong passwords do to others. The program's tests (tests/cli/test_door.py) have the rest. */
#include "server_fixture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/door.h"

/* secret; the second one with a cost that takes a while */
#define CHEAP "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"
#define DEAR "$2b$10$abcdefghijklmnopqrstuuqflPDzB6gcMhKa1rZqKiun2YGL5sa2u"
#define ALICE "Authorization: Basic YWxpY2U6c2VjcmV0\r\n"
#define EVE "Authorization: Basic ZXZlOnNlY3JldA==\r\n"

static const char certificate[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBfjCCASWgAwIBAgIUBhZeb92Ql4nAMH+SpMxwxf8OH6wwCgYIKoZIzj0EAwIw\n"
    "FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMjE4MTEwNFoYDzIxMjYxMDI5\n"
    "MTgxMTA0WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO\n"
    "PQMBBwNCAAQs2Uaqlb/9zadV2x114e9s5VQLoERgrcS+0aTTlNJADgorfQDRDH5G\n"
    "/iBvqUETI8r45mOTcShi/aVk0/5otGpbo1MwUTAdBgNVHQ4EFgQUXaF75XRrPaVU\n"
    "mBTElzuURXj/it4wHwYDVR0jBBgwFoAUXaF75XRrPaVUmBTElzuURXj/it4wDwYD\n"
    "VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNHADBEAiBznRrFYi2KifstXai0/pVz\n"
    "kG4Im0YLa/dVqmMzB9SSowIgT/oQ/AdDfcWioKXrFprpPH9q/GZ7GDCLZJDdfKGP\n"
    "qC4=\n"
    "-----END CERTIFICATE-----\n";
static const char private_key[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgG62oen99+b6qUI+3\n"
    "IIcz0KoWPf8vdR+V7wcdR3iOvAShRANCAAQs2Uaqlb/9zadV2x114e9s5VQLoERg\n"
    "rcS+0aTTlNJADgorfQDRDH5G/iBvqUETI8r45mOTcShi/aVk0/5otGpb\n"
    "-----END PRIVATE KEY-----\n";

/* A folder with files in it, and the server's options for them. */
struct files {
    char folder[32], config[64], tokens[64], cert[64], key[64];
};

static void put(const char *path, const char *text)
{
    char next[80];
    (void)snprintf(next, sizeof(next), "%s.new", path);
    FILE *f = fopen(next, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
    assert_int_equal(rename(next, path), 0);
}

static void make_files(struct files *fs)
{
    memset(fs, 0, sizeof(*fs));
    strcpy(fs->folder, "/tmp/pra-door-XXXXXX");
    assert_non_null(mkdtemp(fs->folder));
    (void)snprintf(fs->config, sizeof(fs->config), "%s/web.yml", fs->folder);
    (void)snprintf(fs->tokens, sizeof(fs->tokens), "%s/tokens", fs->folder);
    (void)snprintf(fs->cert, sizeof(fs->cert), "%s/cert", fs->folder);
    (void)snprintf(fs->key, sizeof(fs->key), "%s/key", fs->folder);
    put(fs->cert, certificate);
    put(fs->key, private_key);
    put(fs->tokens, "carol 0123456789abcdef\nfedcba9876543210\n");
    put(fs->config, "basic_auth_users: {alice: " CHEAP "}\n");
}

static void remove_files(const struct files *fs)
{
    (void)unlink(fs->config);
    (void)unlink(fs->tokens);
    (void)unlink(fs->cert);
    (void)unlink(fs->key);
    assert_int_equal(rmdir(fs->folder), 0);
}

static int write_as(const struct fixture *f, const char *header)
{
    struct http_client c;
    char extra[200];
    http_open(&c, f->port);
    (void)snprintf(extra, sizeof(extra), PROTO "%s", header);
    int status = http_post(&c, "/api/v1/write", extra, write_body, WRITE_LEN) ? status_of(&c) : 0;
    http_close(&c);
    return status;
}

static void the_storage_is_told_who_writes(void **state)
{
    (void)state;
    struct fixture f;
    struct files fs;
    make_files(&fs);
    prepare(&f);
    f.opts.web_config_file_cstr = fs.config;
    f.opts.bearer_token_file_cstr = fs.tokens;
    start(&f);
    assert_int_equal(write_as(&f, ""), 401);
    assert_int_equal(write_as(&f, EVE), 401);
    assert_int_equal(f.store.samples, 0);
    assert_int_equal(write_as(&f, ALICE), 204);
    assert_string_equal(f.store.user, "alice");
    assert_int_equal(write_as(&f, "Authorization: Bearer 0123456789abcdef\r\n"), 204);
    assert_string_equal(f.store.user, "carol");
    assert_int_equal(write_as(&f, "Authorization: Bearer fedcba9876543210\r\n"), 204);
    assert_string_equal(f.store.user, "");
    assert_int_equal(f.store.samples, 3);
    assert_false(pra_server_is_tls(f.server));
    finish(&f);
    remove_files(&fs);
}

static void a_handshake_may_not_take_longer_than_a_head(void **state)
{
    (void)state;
    static const char *const beginnings[] = {"", "\x16", "\x16\x03\x01\x02",
                                             "GET / HTTP/1.1\r\nHost: a\r\n"};
    struct fixture f;
    struct files fs;
    char text[200];
    make_files(&fs);
    prepare(&f);
    (void)snprintf(text, sizeof(text), "tls_server_config: {cert_file: %s, key_file: key}\n",
                   fs.cert);
    put(fs.config, text);
    f.opts.web_config_file_cstr = fs.config;
    f.opts.header_timeout_ms = 100; /* the idle timeout is 6 minutes */
    start(&f);
    assert_true(pra_server_is_tls(f.server));
    for (size_t i = 0; i < sizeof(beginnings) / sizeof(beginnings[0]); i++) {
        struct http_client c;
        http_open(&c, f.port);
        (void)http_send_text(&c, beginnings[i]);
        assert_true(http_ends(&c));
        http_close(&c);
    }
    finish(&f);
    remove_files(&fs);
}

/* Sends what follows TLS's own bytes; 0 when the connection has ended. */
static int talk(gnutls_session_t session, const char *text, char *answer, size_t cap)
{
    ssize_t n;
    do
        n = gnutls_record_send(session, text, strlen(text));
    while (n == GNUTLS_E_INTERRUPTED || n == GNUTLS_E_AGAIN);
    do
        n = n < 0 ? n : gnutls_record_recv(session, answer, cap - 1);
    while (n == GNUTLS_E_INTERRUPTED || n == GNUTLS_E_AGAIN);
    answer[n > 0 ? n : 0] = 0;
    return n > 0;
}

static bool is_served_after(long pause, const struct fixture *f, const char *version)
{
    struct http_client c;
    gnutls_session_t session;
    gnutls_certificate_credentials_t credentials;
    char answer[1000] = "";
    http_open(&c, f->port);
    assert_int_equal(gnutls_certificate_allocate_credentials(&credentials), 0);
    assert_int_equal(gnutls_init(&session, GNUTLS_CLIENT | GNUTLS_NO_SIGNAL), 0);
    assert_int_equal(gnutls_priority_set_direct(session, version, NULL), 0);
    assert_int_equal(gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials), 0);
    gnutls_transport_set_int(session, c.fd);
    if (gnutls_handshake(session) == 0) {
        pause_ms(pause);
        (void)talk(session, "GET /-/ready HTTP/1.1\r\nHost: a\r\n\r\n", answer, sizeof(answer));
    }
    gnutls_deinit(session);
    gnutls_certificate_free_credentials(credentials);
    http_close(&c);
    return strstr(answer, " 200 ");
}

static bool may_be_idle_after_its_handshake(uint32_t timeout_ms)
{
    struct fixture f;
    struct files fs;
    make_files(&fs);
    prepare(&f);
    put(fs.config, "tls_server_config: {cert_file: cert, key_file: key}\n");
    f.opts.web_config_file_cstr = fs.config;
    f.opts.header_timeout_ms = timeout_ms;
    start(&f);
    const long pause = 2 * (long)timeout_ms;
    bool served = is_served_after(pause, &f, "NORMAL:-VERS-ALL:+VERS-TLS1.2") &&
                  is_served_after(pause, &f, "NORMAL:-VERS-ALL:+VERS-TLS1.3");
    finish(&f);
    remove_files(&fs);
    return served;
}

static void a_connection_may_be_idle_after_its_handshake(void **state)
{
    (void)state;
    with_longer_and_longer(300, may_be_idle_after_its_handshake);
}

/* A file as it is in the middle of being written, and one that cannot be read for lack of memory.
 */
static void a_change_of_files_leaves_nobody_in_by_accident(void **state)
{
    (void)state;
    static const char *const halves[] = {"", "basic_auth_users:\n", "# only this\n",
                                         "rate_limit: {interval: 1ns, burst: 100}\n"};
    static const char bob[] = "basic_auth_users: {bob: " CHEAP "}\n";
    const struct timespec long_ago[] = {{1000000000, 0}, {1000000000, 0}};
    struct fixture f;
    struct files fs;
    make_files(&fs);
    prepare(&f);
    f.opts.web_config_file_cstr = fs.config;
    start(&f);
    for (size_t i = 0; i < sizeof(halves) / sizeof(halves[0]); i++) {
        put(fs.config, halves[i]);
        assert_int_equal(write_as(&f, ""), 401);
        assert_int_equal(write_as(&f, ALICE), 204);
    }
    for (long room = 0; room < 12; room++) {
        put(fs.config, room % 2 ? bob : "basic_auth_users: {alice: " CHEAP "}\n");
        assert_int_equal(utimensat(AT_FDCWD, fs.config, long_ago, 0), 0);
        atomic_store(&allowed, room);
        (void)write_as(&f, "");
        atomic_store(&allowed, -1);
        assert_int_equal(write_as(&f, ALICE), room % 2 ? 401 : 204);
    }
    finish(&f);
    remove_files(&fs);
}

/* ---- many wrong passwords */

struct guesser {
    const struct fixture *f;
    int number;
    int wrong, later, other;
};

static void *guess(void *arg)
{
    struct guesser *g = arg;
    for (int i = 0; i < 4; i++) {
        char header[100];
        (void)snprintf(header, sizeof(header), "Authorization: Basic YWxpY2U6%04d\r\n",
                       g->number * 4 + i); /* alice: and three bytes */
        int status = write_as(g->f, header);
        g->wrong += status == 401;
        g->later += status == 503;
        g->other += status != 401 && status != 503;
    }
    return NULL;
}

/* 24 clients guess at the same time; the one that has been let in before notices nothing, since its
 * password is remembered; nobody gets in, and nobody gets anything but 401 or "later". */
static void guessing_does_not_keep_others_out(void **state)
{
    (void)state;
    enum { GUESSERS = 24 };
    struct fixture f;
    struct files fs;
    struct guesser g[GUESSERS];
    pthread_t threads[GUESSERS];
    make_files(&fs);
    put(fs.config, "basic_auth_users: {alice: " DEAR "}\n");
    prepare(&f);
    f.opts.web_config_file_cstr = fs.config;
    start(&f);
    assert_int_equal(write_as(&f, ALICE), 204);
    for (int i = 0; i < GUESSERS; i++) {
        g[i] = (struct guesser){.f = &f, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, guess, &g[i]), 0);
    }
    for (int i = 0; i < 50; i++)
        assert_int_equal(write_as(&f, ALICE), 204);
    for (int i = 0; i < GUESSERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(g[i].other, 0);
        assert_int_equal(g[i].wrong + g[i].later, 4);
    }
    finish(&f);
    remove_files(&fs);
}

/* ---- checks one by one */

static pra_str str(const char *cstr)
{
    return (pra_str){cstr, strlen(cstr)};
}

static void checks_have_turns(void **state)
{
    (void)state;
    pra__user users[] = {{.name = "alice", .hash = CHEAP}, {.name = "bob", .hash = CHEAP}};
    pra__web_config config = {.users = users, .user_count = 2}, next = config;
    pra__user later[] = {{.name = "bob", .hash = DEAR}, {.name = "alice", .hash = CHEAP}};
    pra__place here = {"10.0.0.1:1", 0, true}, never = {"10.0.0.1:1", 0, false};
    const pra__user *who = NULL;
    pra__auth a;
    assert_int_equal(pra__auth_init(&a, pra_alloc_libc()), PRA_OK);
#define TRY(name, secret, place)                                                                   \
    pra__auth_password(&a, &config, str(name), str(secret), place, &who)
    strcpy(a.places[0], "10.0.0.1"); /* another connection of this client is being checked */
    assert_int_equal(TRY("alice", "secret", &here), PRA__CHECK_LATER);
    strcpy(a.places[0], "10.0.0.2");
    assert_int_equal(TRY("alice", "secret", &never), PRA__CHECK_LATER);
    assert_int_equal(TRY("alice", "secret", &here), PRA__RIGHT);
    assert_ptr_equal(who, &users[0]);
    assert_string_equal(a.places[1], "");
    strcpy(a.places[1], "10.0.0.3"); /* none is free: what is known needs none */
    assert_int_equal(TRY("bob", "secret", &here), PRA__CHECK_LATER);
    assert_int_equal(TRY("alice", "secret", &never), PRA__RIGHT);
    a.places[0][0] = a.places[1][0] = 0;
    assert_int_equal(TRY("alice", "wrong", &here), PRA__WRONG_SECRET);
    assert_int_equal(TRY("eve", "secret", &here), PRA__WRONG_SECRET);
    assert_int_equal(TRY("alice", "wrong", &never), PRA__WRONG_SECRET); /* remembered too */
    assert_int_equal(TRY("eve", "secret", &never), PRA__WRONG_SECRET);
    assert_int_equal(TRY("alice", "secret", &never), PRA__RIGHT);
    assert_int_equal(TRY("bob", "secret", &here), PRA__RIGHT);
    next.users = later; /* bob has a new hash, alice has not */
    pra__auth_carry(&a, &config, &next);
    config = next;
    assert_int_equal(TRY("alice", "secret", &never), PRA__RIGHT);
    assert_int_equal(TRY("bob", "secret", &never), PRA__CHECK_LATER);
    for (int i = 0; i < 2 * PRA__WRONG; i++) { /* guesses do not push out what is right */
        char guess[16];
        (void)snprintf(guess, sizeof(guess), "%d", i);
        assert_int_equal(TRY("alice", guess, &here), PRA__WRONG_SECRET);
    }
    assert_int_equal(TRY("alice", "secret", &never), PRA__RIGHT);
#undef TRY
    pra__auth_fini(&a);
}

/* ---- memory */

static void memory_that_runs_out_is_said_and_given_back(void **state)
{
    (void)state;
    struct files fs;
    char text[300];
    const pra_log silent = {NULL, NULL};
    int rc = PRA_ERR_NOMEM;
    make_files(&fs);
    (void)snprintf(text, sizeof(text),
                   "tls_server_config: {cert_file: cert, key_file: key}\n"
                   "basic_auth_users: {alice: " CHEAP "}\n");
    put(fs.config, text);
    atomic_store(&live_bytes, 0);
    for (long room = 0; rc == PRA_ERR_NOMEM; room++) {
        pra__door *door = NULL;
        pra_error err = {0};
        atomic_store(&allowed, room);
        rc = pra__door_new(&counted, &silent, fs.config, fs.tokens, &door, &err);
        atomic_store(&allowed, -1);
        assert_true(rc == PRA_OK || rc == PRA_ERR_NOMEM);
        assert_int_equal(err.code, rc);
        pra__door_free(door);
        assert_int_equal(atomic_load(&live_bytes), 0);
        assert_true(room < 100);
    }
    remove_files(&fs);
}

/* A password that cannot be checked for lack of memory is not wrong: the sender tries again. */
static void without_memory_nobody_is_turned_away_for_good(void **state)
{
    (void)state;
    pra__user user = {.name = "alice", .hash = CHEAP};
    const pra__web_config config = {.users = &user, .user_count = 1};
    const pra__place here = {"10.0.0.1:1", 0, true};
    const pra__user *who = NULL;
    pra__auth a;
    assert_int_equal(pra__auth_init(&a, &counted), PRA_OK);
    atomic_store(&allowed, 0);
    assert_int_equal(pra__auth_password(&a, &config, str("alice"), str("secret"), &here, &who),
                     PRA__CHECK_LATER);
    atomic_store(&allowed, -1);
    assert_int_equal(pra__auth_password(&a, &config, str("alice"), str("secret"), &here, &who),
                     PRA__RIGHT);
    pra__auth_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_storage_is_told_who_writes),
        cmocka_unit_test(a_handshake_may_not_take_longer_than_a_head),
        cmocka_unit_test(a_connection_may_be_idle_after_its_handshake),
        cmocka_unit_test(a_change_of_files_leaves_nobody_in_by_accident),
        cmocka_unit_test(guessing_does_not_keep_others_out),
        cmocka_unit_test(checks_have_turns),
        cmocka_unit_test(memory_that_runs_out_is_said_and_given_back),
        cmocka_unit_test(without_memory_nobody_is_turned_away_for_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
