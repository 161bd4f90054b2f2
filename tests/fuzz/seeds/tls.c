typedef unsigned long size_t;
struct rec { int a; size_t n; };
static struct rec last;
__attribute__((noinline)) int SSL_write(void *s, const void *b, int n) { last.a = n; return n > 0 ? n + *(int *)s : -1; }
__attribute__((noinline)) int SSL_write_ex(void *s, const void *b, size_t n, size_t *w) { *w = n; last.n += n; return s != 0; }
__attribute__((noinline)) int SSL_read(void *s, void *b, int n) { last.a = n; return n; }
__attribute__((noinline)) long gnutls_record_send(void *s, const void *b, size_t n) { last.n = n; return (long)n; }
__attribute__((noinline)) int PR_Write(void *s, const void *b, int n) { return n; }
const char *where(void) { return "../../third_party/boringssl/src/ssl/ssl_lib.cc"; }
