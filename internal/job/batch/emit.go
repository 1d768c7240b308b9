package batch

import (
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/phi3conv/phi3conv/internal/failure"
	"github.com/phi3conv/phi3conv/internal/usage"
	"go.yaml.in/yaml/v3"
)

// Cluster says how workers run on a cluster.
type Cluster struct {
	Name     string // of the jobs
	File     string // the batch file, as Slurm's machines see it
	Dir      string // Slurm: what paths in the file are relative to, "" for its own directory
	Content  string // of the batch file, for Kubernetes
	Workers  int
	CPUs     int           // of a worker
	Lease    time.Duration // of a worker that is silent
	Image    string        // Kubernetes: of the program
	Account  string        // Kubernetes: a service account, "" for the default
	Secret   string        // Kubernetes: whose keys become environment variables, "" for none
	Volume   string        // Kubernetes: a PersistentVolumeClaim that is mounted at /work, "" for none
	Schedule string        // Kubernetes: of a CronJob, "" for a Job that runs now
}

// Engines are those for which [Emit] writes.
var Engines = []string{"kubernetes", "slurm"}

// Emit writes what an engine reads to start workers.
func Emit(w io.Writer, engine string, p *Plan, c Cluster) error {
	switch {
	case !slices.Contains(Engines, engine):
		return usage.Errorf("%q, expected one of %s", engine, strings.Join(Engines, ", "))
	case c.Workers < 1 || c.CPUs < 1:
		return usage.Errorf("%d workers of %d CPUs, expected at least one of each", c.Workers, c.CPUs)
	case c.Lease < time.Second:
		return usage.Errorf("a lease of %s, expected at least 1s", c.Lease)
	case !name.MatchString(c.Name):
		return usage.Errorf("the name is %q, expected letters, digits and -", c.Name)
	case engine == "slurm":
		return c.slurm(w, p)
	case !label.MatchString(c.Name):
		return usage.Errorf("the name is %q, expected at most 52 lower-case letters, digits and -", c.Name)
	case c.Image == "":
		return usage.Errorf("kubernetes needs the name of an image with the program")
	}
	if err := c.reachable(); err != nil {
		return err
	}
	return c.kubernetes(w, p)
}

// label is what Kubernetes takes as the name of a CronJob, and of an Indexed Job whose pods have names with an index.
var label = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?$`)

// volume is where pods have the volume. Paths in the batch file are relative to it.
const volume = "/work"

// reachable refuses paths that pods do not have.
func (c *Cluster) reachable() error {
	s, err := Parse([]byte(c.Content))
	if err != nil {
		return err
	}
	for _, name := range s.paths() {
		clean := path.Clean(*name)
		switch {
		case isURL(*name):
		case c.Volume == "":
			return usage.Errorf("%s: pods have no such path; expected a URL, or a volume with it", *name)
		case path.IsAbs(clean) && !strings.HasPrefix(clean, volume+"/"):
			return usage.Errorf("%s is not on the volume, which pods have at %s", *name, volume)
		case clean == ".." || strings.HasPrefix(clean, "../"):
			return usage.Errorf("%s leads out of the volume, which has what is in the batch file's directory", *name)
		}
	}
	return nil
}

// mebibytes are what a worker may take: the greatest of the steps' memory.
func (p *Plan) mebibytes() int64 {
	var bytes int64
	for _, s := range p.Steps {
		bytes = max(bytes, s.Memory)
	}
	return (bytes + 1<<20 - 1) >> 20
}

// imageUser is the user and the group of the released image.
const imageUser = 65532

// about is what both engines' files say first.
func (c *Cluster) about(p *Plan) string {
	return fmt.Sprintf("# %d steps by %d workers. A worker takes any step that is ready; its index says where it\n"+
		"# begins to look. What is done is not done again, and what a lost worker had is taken over.\n",
		len(p.Steps), c.Workers)
}

// object is one of YAML, keys in alphabetical order.
type object = map[string]any

// kubernetes writes a ConfigMap with the batch file, and an Indexed Job or a CronJob with one.
func (c *Cluster) kubernetes(w io.Writer, p *Plan) error {
	kind, spec := "Job", c.job(p)
	if c.Schedule != "" {
		kind = "CronJob"
		spec = object{"schedule": c.Schedule, "concurrencyPolicy": "Forbid", "jobTemplate": object{"spec": spec}}
	}
	if _, err := io.WriteString(w, c.about(p)); err != nil {
		return err
	}
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	for _, o := range []object{
		{"apiVersion": "v1", "kind": "ConfigMap", "metadata": object{"name": c.Name},
			"data": object{"jobs.yaml": c.Content}},
		{"apiVersion": "batch/v1", "kind": kind, "metadata": object{"name": c.Name}, "spec": spec},
	} {
		if err := e.Encode(o); err != nil {
			return err
		}
	}
	return e.Close()
}

// job is an Indexed Job. An index that ends because a step failed is not tried again, since it would fail again; one
// that is evicted is, and does not count.
func (c *Cluster) job(p *Plan) object {
	codes := []int{failure.Check.Code(), failure.Usage.Code(), failure.Input.Code()}
	return object{
		"completionMode": "Indexed", "completions": c.Workers, "parallelism": c.Workers, "backoffLimitPerIndex": 6,
		"podFailurePolicy": object{"rules": []object{
			{"action": "Ignore", "onPodConditions": []object{{"type": "DisruptionTarget"}}},
			{"action": "FailIndex",
				"onExitCodes": object{"containerName": "worker", "operator": "In", "values": codes}},
		}},
		"template": object{"spec": c.pod(p)},
	}
}

func (c *Cluster) pod(p *Plan) object {
	memory := fmt.Sprintf("%dMi", p.mebibytes())
	volumes := []object{
		{"name": "jobs", "configMap": object{"name": c.Name}}, {"name": "scratch", "emptyDir": object{}},
	}
	mounts := []object{{"name": "jobs", "mountPath": "/jobs"}, {"name": "scratch", "mountPath": "/scratch"}}
	if c.Volume != "" {
		volumes = append(volumes, object{"name": "work", "persistentVolumeClaim": object{"claimName": c.Volume}})
		mounts = append(mounts, object{"name": "work", "mountPath": volume})
	}
	worker := object{
		"name": "worker", "image": c.Image, "args": []string{
			"batch", "run", "/jobs/jobs.yaml", "--dir", volume, "--lease", c.Lease.String(), "--log-json",
		},
		"env": []object{
			{"name": "TMPDIR", "value": "/scratch"}, {"name": "HOME", "value": "/scratch"},
			// Without a limit of its CPUs a pod sees all of the machine's.
			{"name": "GOMAXPROCS", "value": fmt.Sprint(c.CPUs)},
			// Kubernetes does not tell it, and --shard auto needs it.
			{"name": "JOB_COMPLETIONS", "value": fmt.Sprint(c.Workers)},
		},
		"volumeMounts": mounts,
		"resources": object{
			"requests": object{"cpu": c.CPUs, "memory": memory}, "limits": object{"memory": memory},
		},
		"securityContext": object{
			"allowPrivilegeEscalation": false, "capabilities": object{"drop": []string{"ALL"}},
		},
	}
	if c.Secret != "" {
		worker["envFrom"] = []object{{"secretRef": object{"name": c.Secret}}}
	}
	pod := object{
		"restartPolicy": "Never", "containers": []object{worker}, "volumes": volumes,
		"automountServiceAccountToken": false, // workers ask nothing of the cluster
		// The user of the image is not root, and a new volume belongs to root. With the rest, here and above, a
		// namespace takes pods that wants the restricted standard of Pod Security.
		"securityContext": object{
			"fsGroup": imageUser, "fsGroupChangePolicy": "OnRootMismatch",
			"runAsUser": imageUser, "runAsGroup": imageUser, "runAsNonRoot": true,
			"seccompProfile": object{"type": "RuntimeDefault"},
		},
	}
	if c.Account != "" {
		pod["serviceAccountName"] = c.Account
	}
	return pod
}

// slurm writes a shell script that submits an array, and a report after it.
func (c *Cluster) slurm(w io.Writer, p *Plan) error {
	file := quoted(c.File)
	if c.Dir != "" {
		file += " --dir " + quoted(c.Dir)
	}
	_, err := fmt.Fprintf(w, `#!/bin/sh
%sset -e
job=$(sbatch --parsable <<'END'
#!/bin/sh
#SBATCH --job-name=%s --array=0-%d --cpus-per-task=%d --mem=%dM --requeue --output=%s-%%A_%%a.log
export GOMAXPROCS=%d
exec phi3conv batch run %s --lease %s --log-json
END
)
sbatch --parsable --dependency=afterany:"$job" <<'END'
#!/bin/sh
#SBATCH --job-name=%s-report --output=%s-report.log
exec phi3conv batch report %s --html %s
END
`, c.about(p), c.Name, c.Workers-1, c.CPUs, p.mebibytes(), c.Name, c.CPUs, file, c.Lease,
		c.Name, c.Name, file, c.Name+".html")
	return err
}

// quoted is a word of the shell.
func quoted(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }
