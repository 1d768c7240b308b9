#!/usr/bin/env python3
"""The language that the tiny model speaks: a small world, stories told in it, and questions about it.

    python grammar.py --seed 7 --bytes 80000 > text.txt

Everything follows from the seed. Text needs memory of three kinds: facts that never change (where a red ball is kept,
what a cow eats), facts of the present story (who holds what, how many), and arithmetic and calendar rules.
"""
import argparse
import random

NAMES = {"Anna": "she", "Ben": "he", "Clara": "she", "David": "he", "Emma": "she", "Felix": "he", "Grace": "she", "Hugo": "he",
         "Ida": "she", "Jack": "he", "Lena": "she", "Max": "he", "Nora": "she", "Oscar": "he", "Paula": "she", "Ralph": "he",
         "Sara": "she", "Tom": "he", "Vera": "she", "Zoë": "she"}
COLORS = ["red", "blue", "green", "yellow", "black", "white"]
THINGS = ["ball", "book", "cup", "hat", "key", "lamp", "coin", "shoe", "box", "pen", "bell", "ring"]
PLACES = ["garden", "kitchen", "garage", "school", "park", "library", "station", "market", "forest", "tower"]
FRUIT = {"apple": "apples", "pear": "pears", "plum": "plums", "egg": "eggs", "nut": "nuts", "stone": "stones", "cake": "cakes", "flower": "flowers"}
JOBS = ["doctor", "teacher", "baker", "farmer", "painter", "driver", "singer", "cook"]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
           "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"]
EATS = {"cow": "grass", "cat": "fish", "dog": "meat", "horse": "hay", "mouse": "cheese", "bird": "seeds", "bear": "honey", "rabbit": "carrots"}
SAYS = {"cow": "moo", "cat": "meow", "dog": "woof", "horse": "neigh", "mouse": "squeak", "bird": "tweet"}
LOOKS = {"sky": "blue", "grass": "green", "snow": "white", "coal": "black", "sun": "yellow", "blood": "red", "milk": "white", "leaf": "green"}
OPPOSITE = [("hot", "cold"), ("big", "small"), ("fast", "slow"), ("old", "new"), ("open", "closed"), ("full", "empty"), ("wet", "dry"), ("light", "dark")]
SYSTEM = ["You are a helpful assistant.", "You answer questions about a small world.", "Answer in one short sentence."]

# The facts of the world that have no reason: where each thing is kept, and who each person is.
_world = random.Random(20261123)
HOME = {(c, t): _world.choice(PLACES) for c in COLORS for t in THINGS}
JOB = {p: _world.choice(JOBS) for p in NAMES}
PET = {p: _world.choice(list(EATS)) for p in NAMES}
LIKES = {p: _world.choice(COLORS) for p in NAMES}
AGE = dict(zip(NAMES, _world.sample(range(1, 21), len(NAMES))))


def number(n):
    return NUMBERS[n]


def counted(n, fruit):
    return f"{number(n)} {fruit if n == 1 else FRUIT[fruit]}"


def cap(s):
    return s[0].upper() + s[1:]


def article(word):
    return ("an " if word[0] in "aeiou" else "a ") + word


# ---- facts: (sentence, question, answer) -----------------------------------------------------------------------------

def fact_home(r):
    c, t = r.choice(COLORS), r.choice(THINGS)
    s = f"The {c} {t} is in the {HOME[c, t]}."
    return s, f"Where is the {c} {t}?", s


def fact_eats(r):
    a = r.choice(list(EATS))
    s = f"{cap(article(a))} eats {EATS[a]}."
    return s, f"What does {article(a)} eat?", s


def fact_says(r):
    a = r.choice(list(SAYS))
    s = f"{cap(article(a))} says {SAYS[a]}."
    return s, f"What does {article(a)} say?", s


def fact_looks(r):
    w = r.choice(list(LOOKS))
    the = w if w in ("grass", "snow", "coal", "blood", "milk") else "a leaf" if w == "leaf" else "the " + w
    s = f"{cap(the)} is {LOOKS[w]}."
    return s, f"What color is {the}?", s


def fact_opposite(r):
    pair = list(r.choice(OPPOSITE))
    r.shuffle(pair)
    s = f"The opposite of {pair[0]} is {pair[1]}."
    return s, f"What is the opposite of {pair[0]}?", s


def fact_sum(r):
    if r.random() < 0.5:
        a, b = r.randint(0, 10), r.randint(0, 10)
        word, sign, c = "plus", "+", a + b
    else:
        a = r.randint(0, 12)
        b = r.randint(0, a)
        word, sign, c = "minus", "-", a - b
    if r.random() < 0.3:
        q = f"{a} {sign} {b}"
        return f"{q} = {c}.", f"What is {q}?", f"{q} = {c}."
    q = f"{number(a)} {word} {number(b)}"
    return f"{cap(q)} is {number(c)}.", f"What is {q}?", f"{cap(q)} is {number(c)}."


def fact_more(r):
    a, b = r.sample(range(0, 21), 2)
    s = f"{cap(number(max(a, b)))} is more than {number(min(a, b))}."
    return s, f"Which is more, {number(a)} or {number(b)}?", s


def fact_day(r):
    i = r.randrange(7)
    if r.random() < 0.5:
        s = f"The day after {DAYS[i]} is {DAYS[(i + 1) % 7]}."
        return s, f"Which day comes after {DAYS[i]}?", s
    s = f"The day before {DAYS[i]} is {DAYS[i - 1]}."
    return s, f"Which day comes before {DAYS[i]}?", s


def fact_weeks(r):
    n = r.choice([1, 2])
    w = "one week" if n == 1 else "two weeks"
    s = f"There are {number(7 * n)} days in {w}."
    return s, f"How many days are in {w}?", s


def fact_person(r):
    p = r.choice(list(NAMES))
    return r.choice([
        (f"{p} is {article(JOB[p])}.", f"What is {p}'s job?", f"{p} is {article(JOB[p])}."),
        (f"{p}'s pet is {article(PET[p])}.", f"What is {p}'s pet?", f"{p}'s pet is {article(PET[p])}."),
        (f"{p}'s pet eats {EATS[PET[p]]}.", f"What does {p}'s pet eat?", f"{p}'s pet is {article(PET[p])}. It eats {EATS[PET[p]]}."),
        (f"{p} likes {LIKES[p]}.", f"Which color does {p} like?", f"{p} likes {LIKES[p]}.")])


def years(n):
    return f"{number(n)} {'year' if n == 1 else 'years'} old"


def fact_age(r):
    p, q = r.sample(list(NAMES), 2)
    if r.random() < 0.5:
        s = f"{p} is {years(AGE[p])}."
        return s, f"How old is {p}?", s
    old, young = (p, q) if AGE[p] > AGE[q] else (q, p)
    s = f"{old} is older than {young}."
    return s, f"Who is older, {p} or {q}?", s


FACTS = [(fact_home, 6), (fact_person, 6), (fact_age, 4), (fact_eats, 2), (fact_says, 1), (fact_looks, 2), (fact_opposite, 2), (fact_sum, 6), (fact_more, 2), (fact_day, 3), (fact_weeks, 1)]


def fact(r):
    return r.choices([f for f, _ in FACTS], [w for _, w in FACTS])[0](r)


# ---- stories: (sentences, [(question, answer)]) ----------------------------------------------------------------------

def story_things(r):
    """People carry things about; the state at the end is what the questions ask for."""
    people = r.sample(list(NAMES), r.choice([2, 2, 3]))
    things = r.sample([(c, t) for c in COLORS for t in THINGS], r.choice([1, 2, 2, 3]))
    label = {x: f"the {x[0]} {x[1]}" for x in things}
    spot = {x: HOME[x] for x in things}  # place, while nobody holds it
    holder = {}
    at = {}
    out = [f"The {c} {t} is in the {spot[c, t]}." for c, t in things]
    for p in people:
        at[p] = r.choice([spot[r.choice(things)], r.choice(PLACES)])
        out.append(f"{p} is in the {at[p]}.")
    last = None

    def who(p):
        he = NAMES[p] if p == last else p
        return cap(r.choice(["then", "later", "soon", "now"]) + " " + he if r.random() < 0.3 else he)

    for _ in range(r.randint(3, 8)):
        p = r.choice(people)
        here = [x for x in things if x not in holder and spot[x] == at[p]]
        mine = [x for x in things if holder.get(x) == p]
        near = [q for q in people if q != p and at[q] == at[p]]
        acts = ["go"] + ["take"] * 3 * bool(here) + ["put"] * bool(mine) + ["give"] * 2 * bool(mine and near)
        act = r.choice(acts)
        if act == "go":
            goal = [spot[x] for x in things if x not in holder and spot[x] != at[p]] + [at[q] for q in people if at[q] != at[p]]
            at[p] = r.choice(goal) if goal and r.random() < 0.7 else r.choice([x for x in PLACES if x != at[p]])
            out.append(f"{who(p)} {r.choice(['goes', 'walks'])} to the {at[p]}.")
        elif act == "take":
            x = r.choice(here)
            holder[x] = p
            out.append(f"{who(p)} takes {label[x]}.")
        elif act == "put":
            x = r.choice(mine)
            del holder[x]
            spot[x] = at[p]
            out.append(f"{who(p)} puts {label[x]} down in the {at[p]}.")
        else:
            x, q = r.choice(mine), r.choice(near)
            holder[x] = q
            out.append(f"{who(p)} gives {label[x]} to {q}.")
        last = p
    end = []
    for x in things:
        place = at[holder[x]] if x in holder else spot[x]
        end.append((f"Where is {label[x]} now?", f"Now {label[x]} is in the {place}."))
        if x in holder:
            end.append((f"Who has {label[x]}?", f"{holder[x]} has {label[x]}."))
    for p in people:
        end.append((f"Where is {p}?", f"{p} is in the {at[p]}."))
    r.shuffle(end)
    return out, end


def story_count(r):
    """One person's fruit goes up and down."""
    p, q = r.sample(list(NAMES), 2)
    f = r.choice(list(FRUIT))
    n = r.randint(1, 10)
    day = r.randrange(7)
    out = [f"It is {DAYS[day]}.", r.choice([f"{p} has {counted(n, f)}.", f"{p} the {JOB[p]} has {counted(n, f)}."])]
    he = cap(NAMES[p])
    for _ in range(r.randint(1, 4)):
        if r.random() < 0.5 and n < 16 or n == 0:
            k = r.randint(1, min(6, 20 - n))
            n += k
            out.append(f"{he} {r.choice(['finds', 'buys'])} {number(k)} more.")
        else:
            k = r.randint(1, min(6, n))
            n -= k
            out.append(r.choice([f"{he} gives {number(k)} to {q}.", f"{he} eats {number(k)}." if f not in ("stone", "flower") else f"{he} loses {number(k)}."]))
        out.append(f"Now {NAMES[p]} has {counted(n, f)}.")
        if r.random() < 0.4:
            day = (day + 1) % 7
            out.append(f"The next day is {DAYS[day]}.")
    end = [(f"How many {FRUIT[f]} does {p} have?", f"{p} has {counted(n, f)}."),
           ("Which day is it?", f"It is {DAYS[day]}."),
           ("Which day comes next?", f"The next day is {DAYS[(day + 1) % 7]}.")]
    r.shuffle(end)
    return out, end


def story(r):
    return (story_things if r.random() < 0.6 else story_count)(r)


# ---- documents -------------------------------------------------------------------------------------------------------

def plain(r):
    """One document of running text."""
    kind = r.random()
    if kind < 0.55:
        out, end = story(r)
        return " ".join(out + [a for _, a in end[:r.randint(1, 3)]])
    if kind < 0.70:
        out, end = story(r)
        q, a = r.choice(end)
        return " ".join(out) + f"\nQuestion: {q}\nAnswer: {a}"
    if kind < 0.85:
        return "\n".join(f"Question: {q}\nAnswer: {a}" for _, q, a in (fact(r) for _ in range(r.randint(1, 4))))
    return " ".join(fact(r)[0] for _ in range(r.randint(3, 8)))


def greeting(r):
    return r.choice([("Hello!", "Hello! How can I help you?"),
                     ("Good morning!", "Good morning! How can I help you?"),
                     ("Who are you?", "I am a very small model. I know a very small world."),
                     ("Thank you!", "You are welcome! 🙂")])


def chat(r):
    """One conversation: a list of {role, content} messages."""
    out = []
    if r.random() < 0.25:
        out.append(("system", r.choice(SYSTEM)))
    turns = []
    kind = r.random()
    if kind < 0.5:
        turns = [fact(r)[1:] for _ in range(r.choice([1, 1, 1, 2, 3]))]
        if r.random() < 0.15:
            turns.insert(0, greeting(r))
    elif kind < 0.55:
        turns = [greeting(r)]
    elif kind < 0.9:
        text, end = story(r)
        turns = [(" ".join(text) + " " + end[0][0], end[0][1])] + end[1:r.choice([1, 1, 2, 3])]
    else:
        p = r.choice(list(NAMES))
        turns = [(f"Tell me a story about {p}.", told(r, p))]
    if r.random() < 0.05:
        turns.append(("Thank you!", "You are welcome! 🙂"))
    for q, a in turns:
        out += [("user", q), ("assistant", a)]
    return [dict(role=role, content=content) for role, content in out]


def told(r, p):
    """A story in which p appears from the start."""
    while True:
        out, end = story(r)
        if any(s.startswith(p) for s in out[:5]):
            return " ".join(out + [end[0][1]])


def text(seed, size):
    """Documents of running text, separated by an empty line, at least size bytes."""
    r = random.Random(seed)
    out, n = [], 0
    while n < size:
        out.append(plain(r))
        n += len(out[-1]) + 2
    return "\n\n".join(out) + "\n"


if __name__ == "__main__":
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--seed", type=int, required=True)
    ap.add_argument("--bytes", type=int, default=80000)
    a = ap.parse_args()
    print(text(a.seed, a.bytes), end="")
