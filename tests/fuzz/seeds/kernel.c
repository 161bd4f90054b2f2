struct common { unsigned short family; unsigned short sport; union { int a; struct { short b, c; }; }; struct { long inner; } in; };
struct sock { struct common __sk_common; int bits:3; int more:5; void *ptr; };
typedef struct sock sock_t;
enum state { CLOSED = 7, OPEN = 1 };
sock_t one; enum state st; const volatile struct sock *p;
int f(struct sock *s, int n) { return n; }
