/* A CPU-bound guest program of the kinds of work that firmware does: linked lists, a matrix, a state machine over text,
 * checksums, sorting, hashing, dispatch through function pointers. It never leaves the core; the result at the end depends
 * on every step. Parameters and result are words at known symbols. */

typedef unsigned int u32;
typedef unsigned short u16;
typedef unsigned char u8;
typedef int s32;

volatile u32 iterations = 20000;
volatile u32 result;

static u32 seed;
static u32 next_random(void) { return seed = seed * 1664525u + 1013904223u; }

/* Linked list: build, reverse, sort by merging, sum. */
struct node { struct node *next; s32 value; };
static struct node nodes[64];

static struct node *merge(struct node *a, struct node *b) {
    struct node head, *tail = &head;
    while (a && b) {
        if (a->value <= b->value) { tail->next = a; a = a->next; } else { tail->next = b; b = b->next; }
        tail = tail->next;
    }
    tail->next = a ? a : b;
    return head.next;
}

static struct node *sort(struct node *list) {
    if (!list || !list->next) return list;
    struct node *slow = list, *fast = list->next;
    while (fast && fast->next) { slow = slow->next; fast = fast->next->next; }
    struct node *second = slow->next;
    slow->next = 0;
    return merge(sort(list), sort(second));
}

static u32 list_work(void) {
    for (int i = 0; i < 64; i++) {
        nodes[i].value = (s32)(next_random() >> 8);
        nodes[i].next = i + 1 < 64 ? &nodes[i + 1] : 0;
    }
    struct node *list = 0;
    for (struct node *n = &nodes[0]; n;) { struct node *next = n->next; n->next = list; list = n; n = next; }
    u32 sum = 0;
    int position = 0;
    for (struct node *n = sort(list); n; n = n->next) sum += (u32)n->value ^ (u32)position++;
    return sum;
}

/* Integer matrix product with saturation. */
#define N 12
static s32 ma[N][N], mb[N][N], mc[N][N];

static u32 matrix_work(void) {
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) { ma[i][j] = (s32)(next_random() >> 20); mb[i][j] = (s32)(next_random() >> 20) - 2048; }
    u32 sum = 0;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            s32 total = 0;
            for (int k = 0; k < N; k++) total += ma[i][k] * mb[k][j];
            if (total > 1 << 24) total = 1 << 24;
            mc[i][j] = total;
            sum = (sum << 1 | sum >> 31) ^ (u32)total;
        }
    return sum;
}

/* State machine over text: counts numbers by kind. */
static char text[256];
enum state { START, SIGN, INTEGER, FRACTION, EXPONENT, INVALID, STATES };
static u32 counts[STATES];

static void make_text(void) {
    static const char alphabet[] = "0123456789+-.eE,, ";
    for (int i = 0; i < 255; i++) text[i] = alphabet[next_random() >> 16 & 15 ? next_random() >> 20 & 15 : 16];
    text[255] = 0;
}

static u32 text_work(void) {
    make_text();
    enum state state = START;
    for (const char *p = text; *p; p++) {
        char c = *p;
        if (c == ',' || c == ' ') { counts[state]++; state = START; continue; }
        int digit = c >= '0' && c <= '9';
        switch (state) {
        case START: state = digit ? INTEGER : c == '+' || c == '-' ? SIGN : c == '.' ? FRACTION : INVALID; break;
        case SIGN: state = digit ? INTEGER : c == '.' ? FRACTION : INVALID; break;
        case INTEGER: if (!digit) state = c == '.' ? FRACTION : c == 'e' || c == 'E' ? EXPONENT : INVALID; break;
        case FRACTION: if (!digit) state = c == 'e' || c == 'E' ? EXPONENT : INVALID; break;
        case EXPONENT: if (!digit && c != '-' && c != '+') state = INVALID; break;
        default: break;
        }
    }
    u32 sum = 0;
    for (int i = 0; i < STATES; i++) sum = sum * 31 + counts[i];
    return sum;
}

/* CRC-16 bit by bit, CRC-32 by table. */
static u32 crc_table[256];

static u16 crc16(u8 byte, u16 crc) {
    for (int i = 0; i < 8; i++) {
        u16 bit = (crc ^ byte) & 1;
        byte >>= 1;
        crc >>= 1;
        if (bit) crc ^= 0xa001;
    }
    return crc;
}

static u32 checksum_work(void) {
    if (!crc_table[1])
        for (u32 i = 0; i < 256; i++) {
            u32 c = i;
            for (int k = 0; k < 8; k++) c = c & 1 ? c >> 1 ^ 0xedb88320u : c >> 1;
            crc_table[i] = c;
        }
    u16 small = 0;
    u32 large = ~0u;
    for (int i = 0; i < 255; i++) {
        if (i < 64) small = crc16((u8)text[i], small);
        large = crc_table[(large ^ (u8)text[i]) & 255] ^ large >> 8;
    }
    return large ^ small;
}

/* Open-addressing hash table with deletions. */
static u32 keys[128], values[128];

static u32 table_work(void) {
    u32 sum = 0;
    for (int i = 0; i < 128; i++) keys[i] = 0;
    for (int i = 0; i < 96; i++) {
        u32 key = (next_random() >> 12 & 63) + 1, slot = key * 2654435761u >> 25;
        while (keys[slot] && keys[slot] != key) slot = (slot + 1) & 127;
        if (keys[slot]) { values[slot] += (u32)i; sum += values[slot]; } else { keys[slot] = key; values[slot] = key; }
    }
    return sum;
}

/* Commands through function pointers. */
static u32 command_add(u32 a, u32 b) { return a + b; }
static u32 command_mix(u32 a, u32 b) { return (a ^ b) * 0x9e3779b1u; }
static u32 command_divide(u32 a, u32 b) { return b & 0xff ? a / (b & 0xff) : a; }
static u32 command_shift(u32 a, u32 b) { return a << (b & 7) | a >> (31 - (b & 7)); }
static u32 (*const commands[4])(u32, u32) = { command_add, command_mix, command_divide, command_shift };

static u32 command_work(void) {
    u32 value = seed;
    for (int i = 0; i < 64; i++) { u32 r = next_random(); value = commands[r >> 28 & 3](value, r); }
    return value;
}

__attribute__((noreturn)) void finish(void);

void main(void) {
    u32 sum = 0;
    seed = 12345;
    for (u32 i = 0; i < iterations; i++) {
        sum = sum * 31 + list_work();
        sum ^= matrix_work();
        sum += text_work();
        sum ^= checksum_work();
        sum += table_work();
        sum ^= command_work();
    }
    result = sum;
    finish();
}
