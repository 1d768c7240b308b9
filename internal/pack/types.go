package pack

// Conventions of the CNCF ModelPack specification (https://github.com/modelpack/model-spec).
const (
	cncfArtifact     = "application/vnd.cncf.model.manifest.v1+json"
	cncfConfig       = "application/vnd.cncf.model.config.v1+json"
	cncfWeight       = "application/vnd.cncf.model.weight.v1.raw"
	cncfWeightConfig = "application/vnd.cncf.model.weight.config.v1.raw"
	cncfDoc          = "application/vnd.cncf.model.doc.v1.raw"
	cncfCode         = "application/vnd.cncf.model.code.v1.raw"

	annotationPath     = "org.cncf.model.filepath"
	annotationMetadata = "org.cncf.model.file.metadata+json"
	annotationUntested = "org.cncf.model.file.mediatype.untested"
)

// Conventions of Docker Model Runner (https://github.com/docker/model-spec and its implementation).
const (
	dockerConfig  = "application/vnd.docker.ai.model.config.v0.1+json"
	dockerGGUF    = "application/vnd.docker.ai.gguf.v3"
	dockerLicense = "application/vnd.docker.ai.license"
	dockerFile    = "application/vnd.docker.ai.model.file"
)

// annotationRole is our own: what a layer is for, see [Role].
const annotationRole = "io.github.phi3conv.role"

// Role is what a file is for.
type Role string

// Roles, in the order of the layers.
const (
	Weights Role = "weights"
	Config  Role = "config" // tokenizer, configuration, chat template
	Code    Role = "code"
	Recipe  Role = "recipe" // how the weights were made
	Seal    Role = "seal"
	Report  Role = "report"
	License Role = "license"
	Readme  Role = "readme"
)

// roles is the table of roles: order and media types. A seal and a recipe are no documentation,
// since programs read them: they count as configuration of the weights.
var roles = []struct {
	role         Role
	cncf, docker string
}{
	{Weights, cncfWeight, dockerGGUF},
	{Config, cncfWeightConfig, dockerFile},
	{Code, cncfCode, dockerFile},
	{Recipe, cncfWeightConfig, dockerFile},
	{Seal, cncfWeightConfig, dockerFile},
	{Report, cncfDoc, dockerFile},
	{License, cncfDoc, dockerLicense},
	{Readme, cncfDoc, dockerFile},
}

// fileMetadata is the value of annotationMetadata. Owner and time are constants, so that the same files
// give the same manifest on every machine.
type fileMetadata struct {
	Name     string `json:"name"`
	Mode     uint32 `json:"mode"`
	UID      uint32 `json:"uid"`
	GID      uint32 `json:"gid"`
	Size     int64  `json:"size"`
	ModTime  string `json:"mtime"`
	Typeflag byte   `json:"typeflag"`
}

// modelConfig is the configuration of ModelPack.
type modelConfig struct {
	Descriptor struct {
		Family   string   `json:"family,omitempty"`
		Name     string   `json:"name,omitempty"`
		Licenses []string `json:"licenses,omitempty"`
	} `json:"descriptor"`
	ModelFS struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diffIds"`
	} `json:"modelfs"`
	Config struct {
		Architecture string `json:"architecture,omitempty"`
		Format       string `json:"format,omitempty"`
		ParamSize    string `json:"paramSize,omitempty"`
		Precision    string `json:"precision,omitempty"`
		Quantization string `json:"quantization,omitempty"`
	} `json:"config"`
}

// dockerModelConfig is the configuration of Docker Model Runner.
type dockerModelConfig struct {
	Config struct {
		Format       string `json:"format"`
		Quantization string `json:"quantization,omitempty"`
		Parameters   string `json:"parameters,omitempty"`
		Architecture string `json:"architecture,omitempty"`
		Size         string `json:"size,omitempty"`
		ContextSize  uint32 `json:"context_size,omitempty"`
	} `json:"config"`
	Descriptor struct{} `json:"descriptor"`
	RootFS     struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
}
