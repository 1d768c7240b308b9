// A plugin of qemu that counts how often each piece of straight code is executed. At the end it writes a line for each
// to the file that is its argument "out": address, instructions, executions. The declarations are those of version 1 of
// qemu's plugin interface, whose header Debian does not have.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int qemu_plugin_version = PLUGIN_VERSION;

struct qemu_plugin_tb;
void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, void (*f)(uint64_t id, struct qemu_plugin_tb *tb));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, void (*f)(unsigned cpu, void *arg), int flags,
	void *arg);
void qemu_plugin_register_atexit_cb(uint64_t id, void (*f)(uint64_t id, void *arg), void *arg);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);

// A piece is a translation. qemu may translate the same code again, which makes another piece.
struct piece {
	uint64_t address, instructions, executions;
	struct piece *next;
};

static struct piece *pieces;
static const char *out;

static void executed(unsigned cpu, void *arg)
{
	(void)cpu;
	__atomic_fetch_add(&((struct piece *)arg)->executions, 1, __ATOMIC_RELAXED);
}

static void translated(uint64_t id, struct qemu_plugin_tb *tb)
{
	struct piece *p = calloc(1, sizeof *p);

	(void)id;
	if (!p)
		abort();
	p->address = qemu_plugin_tb_vaddr(tb);
	p->instructions = qemu_plugin_tb_n_insns(tb);
	p->next = __atomic_load_n(&pieces, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&pieces, &p->next, p, 0, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
	qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, 0, p);
}

static void finished(uint64_t id, void *arg)
{
	FILE *f = fopen(out, "w");

	(void)id;
	(void)arg;
	if (!f)
		abort();
	for (struct piece *p = pieces; p; p = p->next)
		fprintf(f, "%llx %llu %llu\n", (unsigned long long)p->address, (unsigned long long)p->instructions,
			(unsigned long long)p->executions);
	if (fclose(f))
		abort();
}

int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv)
{
	(void)info;
	if (argc != 1 || strncmp(argv[0], "out=", 4))
		return -1;
	out = strdup(argv[0] + 4);
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, finished, NULL);
	return 0;
}
