package batch

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/internal/failure"
	"github.com/phi3conv/phi3conv/internal/usage"
	"go.yaml.in/yaml/v3"
)

// Cluster says how workers run on a cluster.
type Cluster struct {
	Name     string // of the jobs
	File     string // the batch file, as Slurm's machines see it
	Content  string // of the batch file, for Kubernetes
	Workers  int
	CPUs     int    // of a worker
	Image    string // Kubernetes: of the program
	Account  string // Kubernetes: a service account, "" for the default
	Secret   string // Kubernetes: whose keys become environment variables, "" for none
	Volume   string // Kubernetes: a PersistentVolumeClaim that is mounted at /work, "" for none
	Schedule string // Kubernetes: of a CronJob, "" for a Job that runs now
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
	case !name.MatchString(c.Name):
		return usage.Errorf("the name is %q, expected letters, digits and -", c.Name)
	case engine == "slurm":
		return c.slurm(w, p)
	case c.Image == "":
		return usage.Errorf("kubernetes needs the name of an image with the program")
	}
	return c.kubernetes(w, p)
}

// mebibytes are what a worker may take: the greatest of the steps' memory.
func (p *Plan) mebibytes() int64 {
	var bytes int64
	for _, s := range p.Steps {
		bytes = max(bytes, s.Memory)
	}
	return (bytes + 1<<20 - 1) >> 20
}

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
		mounts = append(mounts, object{"name": "work", "mountPath": "/work"})
	}
	worker := object{
		"name": "worker", "image": c.Image, "args": []string{"batch", "run", "/jobs/jobs.yaml", "--log-json"},
		"env": []object{
			{"name": "TMPDIR", "value": "/scratch"}, {"name": "HOME", "value": "/scratch"},
			// Kubernetes does not tell it, and --shard auto needs it.
			{"name": "JOB_COMPLETIONS", "value": fmt.Sprint(c.Workers)},
		},
		"volumeMounts": mounts,
		"resources": object{
			"requests": object{"cpu": c.CPUs, "memory": memory}, "limits": object{"memory": memory},
		},
	}
	if c.Secret != "" {
		worker["envFrom"] = []object{{"secretRef": object{"name": c.Secret}}}
	}
	pod := object{"restartPolicy": "Never", "containers": []object{worker}, "volumes": volumes}
	if c.Account != "" {
		pod["serviceAccountName"] = c.Account
	}
	return pod
}

// slurm writes a shell script that submits an array, and a report after it.
func (c *Cluster) slurm(w io.Writer, p *Plan) error {
	file := "'" + strings.ReplaceAll(c.File, "'", `'\''`) + "'"
	_, err := fmt.Fprintf(w, `#!/bin/sh
%sset -e
job=$(sbatch --parsable <<'END'
#!/bin/sh
#SBATCH --job-name=%s --array=0-%d --cpus-per-task=%d --mem=%dM --requeue --output=%s-%%A_%%a.log
exec phi3conv batch run %s --log-json
END
)
sbatch --parsable --dependency=afterany:"$job" <<'END'
#!/bin/sh
#SBATCH --job-name=%s-report --output=%s-report.log
exec phi3conv batch report %s --html %s
END
`, c.about(p), c.Name, c.Workers-1, c.CPUs, p.mebibytes(), c.Name, file, c.Name, c.Name, file, c.Name+".html")
	return err
}
