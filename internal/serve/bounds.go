package serve

// mostEntries bounds what an answer takes in memory, about 100 bytes for each: tokens, and candidates with
// log-probabilities.
const mostEntries = 1 << 21

// bounded refuses requests whose answers may get too large.
func bounded(m *Model, jobs []job) error {
	entries := 0
	for _, j := range jobs {
		r := &j.request
		room := max(m.Engine.Context()-len(r.Prompt), 0)
		if r.MaxTokens >= 0 {
			room = min(room, r.MaxTokens)
		}
		entries += room * (2 + max(r.Logprobs, -1))
		if j.echo {
			entries += len(r.Prompt) * (2 + max(r.PromptLogprobs, -1))
		}
	}
	if entries > mostEntries {
		return invalid("max_tokens", "all choices together may have %d tokens and candidates, expected at most %d: "+
			"ask for fewer tokens, prompts, choices or log-probabilities at a time", entries, mostEntries)
	}
	return nil
}
