"""People and places for the tasks that need them; no word is on both a "train" and a "test" list."""

FIRST = {
    "train": """Anna Boris Carla David Elena Felix Greta Hassan Irene Jonas Karin Leo Maria Nils Olga Pedro Rita Samir
        Tanya Umar Vera Walter Yusuf Zoe Alice Ben Clara Dario Emma Fatima George Helen Ivan Julia Kevin Linda Marco Nadia
        Oscar Priya Ruth Simon Teresa Victor Wendy Aiko Bruno Chloe Diego Esther""".split(),
    "test": """Abel Bianca Cedric Dagmar Ewan Farah Gustav Hilda Ismael Jasmine Kofi Lucia Mateo Noor Orla Piotr
        Ramona Stefan Thora Ursula Viggo Wanda Xenia Yara""".split(),
}

LAST = {
    "train": """Berg Lopez Smith Novak Rossi Tanaka Weber Silva Kumar Olsen Petrov Moreno Clark Dubois Haas Ito Jansen
        Keller Larsen Meyer Nunes Ortiz Park Quinn Ramos Santos Turner Vogel Walker Young Adams Bauer Costa Dahl
        Evans Fischer Garcia Hughes Ivanov Jones""".split(),
    "test": """Abbott Brandt Calloway Drummond Eriksson Fontaine Grimaldi Holloway Ishikawa Jablonski Kaminski
        Lindqvist Mbeki Nordstrom Oduya Pellegrini Rasmussen Sandoval Thackeray Vasquez""".split(),
}

CITY = {
    "train": """Oslo Lisbon Madrid Vienna Dublin Prague Chicago Boston Toronto Lima Cairo Nairobi Delhi Osaka Seoul
        Sydney Milan Zurich Hamburg Lyon Porto Geneva Denver Austin Seattle Montreal Athens Warsaw Helsinki Glasgow
        Leeds Bristol Naples Malmo Tampa Dallas""".split(),
    "test": """Utrecht Bergen Sevilla Krakow Galway Turin Quebec Adelaide Kyoto Mumbai Lagos Bogota Tallinn Ghent
        Basel Memphis Portland Cardiff""".split(),
}

MADE_UP = 0.6  # the share of training entities that are made-up words

ONSETS = "b br c ch d dr f fl g gr h j k kl l m n p pl qu r s sh sk sl sp st t tr v w y z".split()
VOWELS = "a e i o u a e i o u ai ea ou".split()
CODAS = ["", "", "", *"n r l s t m k nd rt x ck".split()]


def coin(rng):
    """A made-up word."""
    return "".join(rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(CODAS) for _ in range(rng.randint(1, 3)))


def pick(rng, words, choices, made_up=coin):
    """One of `choices`, or in training often a made-up word: with few words the adapter would learn those by heart
    instead of learning to copy what the prompt says."""
    if words == "train" and rng.random() < MADE_UP:
        return made_up(rng)
    return rng.choice(choices)


def coin_name(rng):
    return coin(rng).title()
